import { PageHead } from "../components/page";

export default function OverviewPage() {
  return <PageHead title="Overview" />;
}
