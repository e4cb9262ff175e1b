import { PageHead } from "../components/page";

export default function AccountingPage() {
  return <PageHead title="Accounting" />;
}
