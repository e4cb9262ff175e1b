import { PageHead } from "../components/page";

export default function CheckpointsPage() {
  return <PageHead title="Checkpoints" />;
}
