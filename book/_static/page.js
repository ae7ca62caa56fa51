// What scrolls sideways is reachable by keyboard, and says that it does; what fits is no stop on the way.
addEventListener("DOMContentLoaded", () => {
  const wide = ".bd-article :is(.scrolls, pre, div.math)";
  const look = (element) => {
    const hidden = element.scrollWidth - element.clientWidth;
    element.classList.toggle("overflows", hidden > 1);
    element.classList.toggle("more", hidden - element.scrollLeft > 1);
    if (hidden > 1) element.tabIndex = 0;
    else element.removeAttribute("tabindex");
  };
  // This also sees a table that is unfolded.
  const sizes = new ResizeObserver((entries) => entries.forEach((entry) => look(entry.target)));
  for (const element of document.querySelectorAll(wide)) {
    sizes.observe(element);
    element.addEventListener("scroll", () => look(element), { passive: true });
  }

  // An excerpt of what was found is text of the chapter, not of the buttons above it.
  if (typeof Search !== "undefined") {
    Search.htmlToText = (page, anchor) => {
      const article = new DOMParser().parseFromString(page, "text/html").querySelector("article.bd-article");
      if (!article) return "";
      article.querySelectorAll(".headerlink, script, style, .cell_input").forEach((left) => left.remove());
      const part = (anchor && article.querySelector(anchor)) || article;
      return part.textContent.replace(/\s+/g, " ");
    };
  }
});

// On paper nothing can be unfolded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll(".bd-article details:not([open])")) {
    folded.open = true;
    folded.dataset.printed = "";
  }
});
addEventListener("afterprint", () => {
  for (const folded of document.querySelectorAll("details[data-printed]")) {
    folded.open = false;
    delete folded.dataset.printed;
  }
});
