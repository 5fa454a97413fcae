// Runs before the first paint, so that a chosen theme never flashes the other one; and before any picture could load.
(function () {
  var read = function (key, fallback) {
    try {
      return JSON.parse(localStorage.getItem('parley.' + key)) || fallback;
    } catch (e) {
      return fallback; // Storage may be closed to us, or forged.
    }
  };
  var root = document.documentElement;
  var saved = read('settings', {});
  if (saved.theme === 'light' || saved.theme === 'dark') root.dataset.theme = saved.theme;
  if (saved.density === 'compact') root.dataset.density = saved.density;
  // What the frame in the page looks like before the program draws it.
  if (saved.sidebar === false) root.dataset.side = 'closed';
  root.dataset.at = /^#\/c\//.test(location.hash) ? 'chat' : /^#\/(?:shared|join|refused)\b/.test(location.hash) ? 'alone' : 'start';
  if (saved.lang) root.lang = saved.lang === 'zh' ? 'zh-Hans' : 'en';

  // The server's policy lets pictures come from any host by TLS; this one lets them come from those that the reader chose.
  var chosen = read('pictures', []);
  var hosts = (Array.isArray(chosen) ? chosen : []).filter(function (host) {
    return typeof host === 'string' && /^[a-z0-9-]+(\.[a-z0-9-]+)+$/.test(host);
  });
  var policy = document.createElement('meta');
  policy.httpEquiv = 'Content-Security-Policy';
  policy.content = ["img-src 'self' data: blob:"].concat(hosts.map(function (host) { return 'https://' + host; })).join(' ');
  document.head.append(policy);
})();
