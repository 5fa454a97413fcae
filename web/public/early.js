// Runs before the first paint, so that a chosen theme never flashes the other one.
(function () {
  try {
    var saved = JSON.parse(localStorage.getItem('parley.settings') || '{}');
    if (saved.theme === 'light' || saved.theme === 'dark') document.documentElement.dataset.theme = saved.theme;
    if (saved.lang) document.documentElement.lang = saved.lang === 'zh' ? 'zh-Hans' : 'en';
  } catch (e) {
    // Storage may be closed to us; the system's theme is a fine default.
  }
})();
