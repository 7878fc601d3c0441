"use strict";
(() => {
  const form = document.getElementById("filters");
  const value = (id) => document.getElementById(id).value;
  const show = () => {
    const [verdict, severity, rule] = [value("verdict"), value("severity"), value("rule")];
    let images = 0, findings = 0;
    for (const section of document.querySelectorAll("section[data-image]")) {
      let own = 0;
      for (const finding of section.querySelectorAll("[data-rule]")) {
        const fits = (!severity || finding.dataset.severity === severity) && (!rule || finding.dataset.rule === rule);
        finding.hidden = !fits;
        own += fits ? 1 : 0;
      }
      const fits = (!verdict || section.dataset.verdict === verdict) && ((!severity && !rule) || own > 0);
      section.hidden = !fits;
      document.querySelector(`tr[data-image="${section.dataset.image}"]`).hidden = !fits;
      images += fits ? 1 : 0;
      findings += fits ? own : 0;
    }
    document.getElementById("shown").textContent = `${images} images, ${findings} findings`;
  };
  form.hidden = false;
  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  show();
})();
