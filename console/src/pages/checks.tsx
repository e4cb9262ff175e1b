import { PageHead } from "../components/page";

export default function ChecksPage() {
  return <PageHead title="Checks" />;
}
