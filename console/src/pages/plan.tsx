import { PageHead } from "../components/page";

export default function PlanPage() {
  return <PageHead title="Plan" />;
}
