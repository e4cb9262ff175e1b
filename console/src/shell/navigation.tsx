import { overview } from "../api/live";
import { Icon } from "../components/icon";
import { address, PAGES, type Page } from "../pages";

const GROUPS = ["Watch", "Data", "Operate"] as const;

/** The links to all pages, with what waits for somebody on them. */
export function Navigation({ current }: { current: Page | undefined }) {
  return (
    <nav class="nav" id="navigation" aria-label="Pages">
      <a class="brand" href="/">
        <Mark />
        Headwater
      </a>
      {GROUPS.map((group) => (
        <div key={group}>
          <h2>{group}</h2>
          <ul>
            {PAGES.filter((page) => page.group === group).map((page) => (
              <li key={page.path}>
                <a class="item" href={address(page)} aria-current={page === current ? "page" : undefined}>
                  <Icon name={page.icon} />
                  {page.title}
                  <Waiting page={page} />
                </a>
              </li>
            ))}
          </ul>
        </div>
      ))}
      <div class="foot">
        {overview.value?.version ? `Headwater ${overview.value.version}` : "Headwater"}
        <br />
        Press <kbd>?</kbd> for shortcuts
      </div>
    </nav>
  );
}

function Waiting({ page }: { page: Page }) {
  const seen = overview.value;
  if (!seen) return null;
  if (page.path === "/") {
    const failing = seen.problems.filter((one) => one.level === "fail").length;
    return failing ? <span class="count fail">{failing}</span> : null;
  }
  if (page.title === "Rejects" && seen.rejects.open > 0) {
    return <span class="count warn">{seen.rejects.open > 999 ? "999+" : seen.rejects.open}</span>;
  }
  if (page.title === "Accounting" && !seen.accounting.holds) return <span class="count fail">!</span>;
  return null;
}

function Mark() {
  return (
    <svg viewBox="0 0 32 32" aria-hidden="true">
      <rect width="32" height="32" rx="7" />
      <path
        d="M5 12c4-4 7 4 11 0s7-4 11 0M5 20c4-4 7 4 11 0s7-4 11 0"
        fill="none"
        stroke="#fff"
        stroke-width="2.6"
        stroke-linecap="round"
      />
    </svg>
  );
}
