/** Our own icons: 20 × 20, one stroke width, drawn in the colour of the text. */

import type { ComponentChildren } from 'preact';

const icon = (children: ComponentChildren) => () => (
  <svg class="icon" viewBox="0 0 20 20" width="20" height="20" aria-hidden="true" focusable="false">
    {children}
  </svg>
);

export const Sidebar = icon(
  <>
    <rect x="2.75" y="3.75" width="14.5" height="12.5" rx="3" />
    <path d="M7.75 4v12" />
  </>,
);
export const Plus = icon(<path d="M10 4.25v11.5M4.25 10h11.5" />);
export const Pen = icon(
  <>
    <path d="M9.5 4H6.25A2.75 2.75 0 0 0 3.5 6.75v7A2.75 2.75 0 0 0 6.25 16.5h7A2.75 2.75 0 0 0 16 13.75V10.5" />
    <path d="m8 12 .5-2.4 6.2-6.2a1.35 1.35 0 0 1 1.9 1.9l-6.2 6.2z" />
  </>,
);
export const Search = icon(
  <>
    <circle cx="9" cy="9" r="5.25" />
    <path d="m13 13 3.75 3.75" />
  </>,
);
export const Cross = icon(<path d="m5.5 5.5 9 9m0-9-9 9" />);
export const Dots = icon(
  <g class="solid">
    <circle cx="4.75" cy="10" r="1.4" />
    <circle cx="10" cy="10" r="1.4" />
    <circle cx="15.25" cy="10" r="1.4" />
  </g>,
);
export const Up = icon(<path d="M10 15.75V4.5m-4.75 4.6L10 4.35l4.75 4.75" />);
export const Down = icon(<path d="M10 4.25V15.5m4.75-4.6L10 15.65 5.25 10.9" />);
export const Stop = icon(
  <g class="solid">
    <rect x="5.5" y="5.5" width="9" height="9" rx="2" />
  </g>,
);
export const Copy = icon(
  <>
    <rect x="7" y="7" width="9.5" height="9.5" rx="2.25" />
    <path d="M13 4.9A1.9 1.9 0 0 0 11.4 3.5H5.75A2.25 2.25 0 0 0 3.5 5.75v5.65A1.9 1.9 0 0 0 4.9 13" />
  </>,
);
export const Check = icon(<path d="m4.25 10.75 3.6 3.5 7.9-8.5" />);
export const Redo = icon(
  <>
    <path d="M16.25 10a6.25 6.25 0 1 1-1.9-4.5" />
    <path d="M16.5 2.9v3.35h-3.35" />
  </>,
);
export const Left = icon(<path d="m12 5-5 5 5 5" />);
export const Right = icon(<path d="m8 5 5 5-5 5" />);
export const Caret = icon(<path d="m6 8.25 4 4 4-4" />);
export const Pin = icon(<path d="M7.4 3.5h5.2l-.5 4.9 2.4 2.7v1.4h-9v-1.4l2.4-2.7zM10 12.6v4.4" />);
export const Export = icon(<path d="M10 12V3.75m-3.25 3L10 3.5l3.25 3.25M4 11.5v2.75a2.25 2.25 0 0 0 2.25 2.25h7.5A2.25 2.25 0 0 0 16 14.25V11.5" />);
export const Bin = icon(<path d="M3.75 5.75h12.5M8 5.5V4.25A.75.75 0 0 1 8.75 3.5h2.5a.75.75 0 0 1 .75.75V5.5m-6.75.5.6 9a1.6 1.6 0 0 0 1.6 1.5h5.1a1.6 1.6 0 0 0 1.6-1.5l.6-9M8.5 9v4.25M11.5 9v4.25" />);
export const Gear = icon(
  <>
    <path d="M3 6.25h7.25m4 0H17M3 13.75h2.75m4 0H17" />
    <circle cx="12.25" cy="6.25" r="2" />
    <circle cx="7.75" cy="13.75" r="2" />
  </>,
);
export const Chart = icon(<path d="M3.5 16.5h13M5.75 13.25v-3M10 13.25V4.5M14.25 13.25V7.75" />);
export const Keys = icon(
  <>
    <rect x="2.25" y="5" width="15.5" height="10" rx="2.25" />
    <path d="M5.5 8.25h.01M8.5 8.25h.01M11.5 8.25h.01M14.5 8.25h.01M6.75 11.75h6.5" />
  </>,
);
export const Shield = icon(
  <>
    <path d="M10 2.9 16 5v4.6c0 3.5-2.4 6.1-6 7.5-3.6-1.4-6-4-6-7.5V5z" />
    <path d="m7.5 9.9 1.8 1.8 3.3-3.5" />
  </>,
);
export const Alert = icon(
  <>
    <circle cx="10" cy="10" r="7" />
    <path d="M10 6.5v4M10 13.4v.01" />
  </>,
);
export const Cloud = icon(<path d="m3 3 14 14M7.4 5.3A4.6 4.6 0 0 1 14.3 8a3.4 3.4 0 0 1 2 5.7M13 15H6.2a3.6 3.6 0 0 1-.6-7.2" />);
export const Moon = icon(<path d="M16.25 11.7A6.75 6.75 0 0 1 8.3 3.75a6.75 6.75 0 1 0 7.95 7.95z" />);
export const Leaf = icon(
  <>
    <path d="M4.2 15.8C2.6 9.2 7 4 16 4c.4 8-3.6 13.4-10 11.6" />
    <path d="M3.5 17c1.3-3.4 3.8-6 7.5-7.6" />
  </>,
);
export const Door = icon(<path d="M8.5 3.75H6A2.25 2.25 0 0 0 3.75 6v8A2.25 2.25 0 0 0 6 16.25h2.5M12.5 6.75 15.75 10l-3.25 3.25M15.5 10H8" />);
export const Eye = icon(
  <>
    <path d="M2.5 10S5.25 4.9 10 4.9 17.5 10 17.5 10 14.75 15.1 10 15.1 2.5 10 2.5 10z" />
    <circle cx="10" cy="10" r="2.25" />
  </>,
);

export const Page = icon(
  <>
    <path d="M6.25 2.75h5l4 4v8.5a2 2 0 0 1-2 2h-7a2 2 0 0 1-2-2V4.75a2 2 0 0 1 2-2z" />
    <path d="M11.25 2.75v4h4M7.25 10.5h5.5M7.25 13.5h3.5" />
  </>,
);
export const Books = icon(
  <>
    <path d="M3.5 4.75a1 1 0 0 1 1-1h2a1 1 0 0 1 1 1v10.5a1 1 0 0 1-1 1h-2a1 1 0 0 1-1-1zM7.5 4.75a1 1 0 0 1 1-1h2a1 1 0 0 1 1 1v10.5a1 1 0 0 1-1 1h-2" />
    <path d="m12.1 5.6 1.75-.5a.9.9 0 0 1 1.1.6l2.3 8.6a.9.9 0 0 1-.6 1.1l-1.75.5a.9.9 0 0 1-1.1-.6L11.5 6.7a.9.9 0 0 1 .6-1.1z" />
  </>,
);
export const People = icon(
  <>
    <circle cx="7.5" cy="7" r="2.75" />
    <path d="M2.75 16.25c.3-3 2.1-4.5 4.75-4.5s4.450 1.500 4.750 4.500M12.750 4.600a2.750 2.750 0 0 1 0 4.800M14.250 12.200c1.700.600 2.750 1.950 3 4.050" />
  </>,
);
export const Spark = icon(<path d="M10 3.25c.6 3.900 2.850 6.150 6.750 6.750-3.900.600-6.150 2.850-6.750 6.750-.600-3.900-2.850-6.150-6.750-6.750 3.900-.600 6.150-2.850 6.750-6.750z" />);
export const Tune = icon(
  <>
    <path d="M5.500 3.500v6M5.500 13.500v3M10 3.500v2.500M10 10v6.500M14.500 3.500v7.500M14.500 15v1.500" />
    <path d="M3.500 11.500h4M8 8h4M12.500 13h4" />
  </>,
);
export const Box = icon(
  <>
    <rect x="3" y="4" width="14" height="3.750" rx="1" />
    <path d="M4.250 7.750v6.500a2 2 0 0 0 2 2h7.500a2 2 0 0 0 2-2v-6.500M8.250 10.750h3.500" />
  </>,
);
export const Ghost = icon(
  <>
    <circle cx="10" cy="10" r="6.75" stroke-dasharray="2.6 2.7" />
    <path d="M10 6.500v3.750l2.250 1.500" />
  </>,
);
export const Thumb = icon(<path d="M6.5 9.25v7M6.5 9.5l2.9-5.9c1.3 0 2.2 1 2 2.3L11 8.5h3.6a1.75 1.75 0 0 1 1.7 2.15l-1 4.25a1.75 1.75 0 0 1-1.7 1.35H4.75A1.25 1.25 0 0 1 3.5 15v-4.25A1.25 1.25 0 0 1 4.75 9.5z" />);

/** The mark: two voices that meet. */
export const Mark = ({ size = 28 }: { size?: number }) => (
  <svg class="mark" viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" focusable="false">
    <path class="mark-a" d="M3 24.5V12.6A9.6 9.6 0 0 1 12.6 3a9.6 9.6 0 0 1 0 19.2H6.6z" />
    <path class="mark-b" d="M29 29.5l-4.2-2.9h-5.4a8.6 8.6 0 1 1 9.6-8.6z" />
  </svg>
);
