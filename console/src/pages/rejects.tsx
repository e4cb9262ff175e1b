import { PageHead } from "../components/page";

export default function RejectsPage() {
  return <PageHead title="Rejects" />;
}
