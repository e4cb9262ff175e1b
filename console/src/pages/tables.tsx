import { PageHead } from "../components/page";

export default function TablesPage() {
  return <PageHead title="Tables" />;
}
