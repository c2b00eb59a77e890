// The charts stand in the page already: here they learn to answer to the pointer. Where that fails they stay as they are.
const specs = JSON.parse(document.getElementById("charts").textContent);
for (const [name, spec] of Object.entries(specs)) {
  const still = document.querySelector(`#chart-${name} .still`);
  const live = document.querySelector(`#chart-${name} .live`);
  const options = { renderer: "svg", actions: false, ast: true, defaultStyle: false, tooltip: { disableDefaultStyle: true } };
  window.vegaEmbed(live, spec, options).then(() => still.remove(), (error) => { live.remove(); console.warn(error); });
}
