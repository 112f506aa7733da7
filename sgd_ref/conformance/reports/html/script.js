"use strict";
const form = document.getElementById("filters");
const articles = [...document.querySelectorAll("article")];
function filter() {
  const wanted = new FormData(form);
  const run = wanted.get("run"), feature = wanted.get("feature"), mistake = wanted.get("mistake"), part = wanted.get("case").trim().toLowerCase();
  let count = 0;
  for (const article of articles) {
    const { run: its, features, names, unexpected } = article.dataset;
    const isShown = (!run || run === its) && (!feature || features.split(" ").includes(feature)) &&
      (!mistake || names.split(" ").includes(mistake)) &&
      article.querySelector("h3").textContent.toLowerCase().includes(part) && (!wanted.get("unexpected") || unexpected !== undefined) &&
      (!wanted.get("plotted") || article.querySelector("svg"));
    article.hidden = !isShown;
    count += Boolean(isShown);
  }
  document.getElementById("shown").textContent = `${count} shown`;
}
if (form) {
  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
}
// A link into a divergence that is filtered away shows all of them first.
addEventListener("hashchange", () => {
  const target = document.getElementById(location.hash.slice(1));
  if (target?.closest("article[hidden]")) {
    form.reset();
    filter();
    target.scrollIntoView();
  }
});
document.addEventListener("click", async (event) => {
  const button = event.target.closest("button");
  if (button?.dataset.run !== undefined) {
    form.reset();
    form.elements.run.value = button.dataset.run;
    form.elements.feature.value = button.dataset.feature;
    filter();
    form.elements.feature.focus();
    form.scrollIntoView();
  } else if (button?.classList.contains("copy")) {
    const code = button.parentElement.querySelector("code");
    try {
      await navigator.clipboard.writeText(code.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code);
    }
  }
});
