"use strict";
const cases = Array.from(document.querySelectorAll(".case"));
const category = document.getElementById("category");
const search = document.getElementById("search");
const wrong = document.getElementById("wrong");
const differ = document.getElementById("differ");
const shown = document.getElementById("shown");
function filter() {
  const words = search.value.toLowerCase();
  let count = 0;
  for (const each of cases) {
    const fits = (!category.value || each.dataset.category === category.value)
      && (!wrong.checked || each.dataset.wrong === "yes")
      && (!differ.checked || each.dataset.differ === "yes")
      && (!words || each.textContent.toLowerCase().includes(words));
    each.hidden = !fits;
    count += fits;
  }
  shown.textContent = `${count} of ${cases.length} shown`;
}
for (const each of [category, search, wrong, differ]) each.addEventListener("input", filter);
