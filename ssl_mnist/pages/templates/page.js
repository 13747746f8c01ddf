// A click on a column's head sorts the rows of the table's first body.
for (const button of document.querySelectorAll("th > button")) button.onclick = () => {
  const head = button.parentNode, body = head.closest("table").tBodies[0], i = head.cellIndex, up = head.ariaSort !== "ascending";
  for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", up ? "ascending" : "descending");
  const value = row => row.cells[i].dataset.value ?? row.cells[i].textContent;
  const order = (a, b) => { const x = value(a), y = value(b); return isNaN(x) || isNaN(y) ? x.localeCompare(y) : x - y; };
  body.append(...[...body.rows].sort((a, b) => up ? order(a, b) : order(b, a)));
};

// Plots that were folded away have no width until they are shown.
for (const details of document.querySelectorAll("main details")) details.ontoggle = () => window.dispatchEvent(new Event("resize"));

for (const button of document.querySelectorAll(".copy")) button.onclick = async () => {
  const code = button.previousElementSibling;
  getSelection().selectAllChildren(code); // what remains where the browser lets no page write to the clipboard
  await navigator.clipboard.writeText(code.textContent);
  button.textContent = "Copied";
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
};

// The navigation is folded where there is no room beside the page, and marks the section that is read.
const navigation = document.querySelector("nav details");
if (navigation) {
  const narrow = matchMedia("(max-width: 60rem)");
  (narrow.onchange = () => { navigation.open = !narrow.matches; })();
  const links = new Map([...navigation.querySelectorAll("a")].map(link => [document.getElementById(link.hash.slice(1)), link]));
  navigation.onclick = event => { if (event.target.closest("a") && narrow.matches) navigation.open = false; };
  const seen = new IntersectionObserver(entries => {
    const entered = entries.filter(entry => entry.isIntersecting);
    if (!entered.length) return;
    for (const link of links.values()) link.removeAttribute("aria-current");
    links.get(entered.at(-1).target)?.setAttribute("aria-current", "true");
  }, { rootMargin: "-5% 0px -85% 0px" });
  for (const section of links.keys()) if (section) seen.observe(section);
}
