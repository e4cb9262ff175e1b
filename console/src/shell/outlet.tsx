import type { ComponentType } from "preact";
import { Component } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Empty, Loading, ProblemNote } from "../components/empty";
import type { Page, PageProps } from "../pages";

/** Shows `page`, once its module is there. */
export function Outlet({ page, params }: { page: Page | undefined; params: Record<string, string> }) {
  const [shown, setShown] = useState<{ page: Page; view: ComponentType<PageProps> } | null>(null);
  const [problem, setProblem] = useState<unknown>(null);
  useEffect(() => {
    if (!page) return;
    let wanted = true;
    setProblem(null);
    page.load().then(
      (loaded) => wanted && setShown({ page, view: loaded.default }),
      (error) => wanted && setProblem(error),
    );
    return () => {
      wanted = false;
    };
  }, [page]);
  if (!page) {
    return (
      <Empty icon="search" title="There is no such page">
        The list at the left has all there are.
      </Empty>
    );
  }
  if (problem) return <ProblemNote problem={problem} />;
  if (shown?.page !== page) return <Loading />;
  const View = shown.view;
  return (
    <Guarded key={page.path}>
      <View params={params} />
    </Guarded>
  );
}

/** A fault of a page stays on that page. */
class Guarded extends Component<object, { fault: unknown }> {
  override state = { fault: null as unknown };

  static override getDerivedStateFromError(fault: unknown): { fault: unknown } {
    return { fault };
  }

  override componentDidCatch(fault: unknown): void {
    console.error(fault);
  }

  override render() {
    return this.state.fault ? (
      <ProblemNote problem={this.state.fault} />
    ) : (
      ((this.props as { children: unknown }).children as never)
    );
  }
}
