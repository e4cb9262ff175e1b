import { PageHead } from "../components/page";

export default function GraphPage() {
  return <PageHead title="Graph" />;
}
