import { PageHead } from "../components/page";

export default function SqlPage() {
  return <PageHead title="SQL" />;
}
