import { PageHead } from "../components/page";

export default function StreamsPage() {
  return <PageHead title="Streams" />;
}
