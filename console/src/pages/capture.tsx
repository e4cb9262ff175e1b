import { PageHead } from "../components/page";

export default function CapturePage() {
  return <PageHead title="Capture" />;
}
