"use strict";
// What Furo leaves to browsers, and what axe finds wrong.
// What scrolls must be reached with the keyboard. Where text is long and the window narrow, blocks of code and tables
// scroll by themselves; what fits is no stop of the tab key.
function makeReachable() {
  for (const block of document.querySelectorAll("pre, .table-wrapper")) {
    if (block.scrollWidth > block.clientWidth || block.scrollHeight > block.clientHeight) {
      block.tabIndex = 0;
      block.setAttribute("role", "group");
      block.setAttribute("aria-label", block.matches("pre") ? "code" : "table");
    } else {
      for (const name of ["tabindex", "role", "aria-label"]) block.removeAttribute(name);
    }
  }
}
addEventListener("load", makeReachable);
addEventListener("resize", makeReachable);
// Two landmarks of one kind must have names.
document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "all pages");
document.querySelector(".toc-drawer")?.setAttribute("aria-label", "on this page");
