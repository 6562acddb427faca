// SPDX-License-Identifier: Apache-2.0

/// How the live page looks: on light and dark, wide and narrow.
enum LiveStyle {
  static let sheet = """
    :root { --ink: #1c2329; --dim: #5a6672; --paper: #fbfbfa; --card: #ffffff; --rule: #dde2e6;
      --good: #14794f; --waiting: #9a6200; --bad: #b3261e; --plain: #2b6298;
      --c0: #2166ac; --c1: #c2502f; --c2: #17805d; }
    @media (prefers-color-scheme: dark) {
      :root { --ink: #e4e8eb; --dim: #9aa6b1; --paper: #14181c; --card: #1b2127; --rule: #323b44;
        --good: #4fcf9b; --waiting: #e6b450; --bad: #ff8a7a; --plain: #7ab8f0;
        --c0: #6fb1ef; --c1: #f08a6a; --c2: #4fcfa3; }
    }
    * { box-sizing: border-box; }
    body { margin: 0 auto; padding: 1.2rem clamp(0.8rem, 3vw, 2rem) 2rem; max-width: 72rem; background: var(--paper);
      color: var(--ink); font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
    body { --mood: var(--plain); }
    body.good { --mood: var(--good); } body.waiting { --mood: var(--waiting); } body.bad { --mood: var(--bad); }
    body:not(.live) .of-live, body:not(.relay) .of-relay, body:not(.live, .relay) .of-deltas, body.relay .of-own { display: none; }
    .small { margin: 0; color: var(--dim); overflow-wrap: anywhere; }
    .small b { color: var(--ink); margin-right: 0.5rem; }
    h1 { margin: 0.5rem 0 0; font-size: clamp(2rem, 7vw, 3.2rem); line-height: 1.1; color: var(--mood);
      letter-spacing: -0.01em; }
    h2 { font-size: 1.05rem; margin: 1.8rem 0 0.5rem; }
    #advice { margin: 0.4rem 0 0; font-size: clamp(1.05rem, 2.6vw, 1.3rem); max-width: 60ch; min-height: 1.45em; }
    #stale { margin: 0.6rem 0 0; padding: 0.4rem 0.7rem; border-left: 4px solid var(--waiting); background: var(--card); }
    .progress { display: flex; align-items: center; gap: 0.8rem; margin: 1rem 0 0; }
    .progress + .small { margin: 0.2rem 0 1rem; font-size: 12.5px; }
    .track { flex: 1; height: 14px; border-radius: 7px; background: var(--rule); overflow: hidden; }
    #bar { height: 100%; background: var(--mood); border-radius: 7px; transition: width 0.6s linear; }
    #progress-text { font-variant-numeric: tabular-nums; min-width: 4.2rem; text-align: right; font-weight: 600; }
    .tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(10.5rem, 1fr)); gap: 1px; margin: 0;
      background: var(--card); border: 1px solid var(--rule); border-radius: 8px; overflow: hidden; }
    .tiles div { padding: 0.5rem 0.75rem; box-shadow: 0 0 0 1px var(--rule); }
    dt { color: var(--dim); font-size: 12.5px; }
    dd { margin: 0; font-weight: 600; font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }
    .charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem;
      margin-top: 1.2rem; }
    .charts[hidden] { display: none; }
    figure { margin: 0; padding: 0.7rem 0.8rem 0.5rem; background: var(--card); border: 1px solid var(--rule);
      border-radius: 8px; min-width: 0; }
    figcaption { font-weight: 600; font-size: 13.5px; }
    .unit { color: var(--dim); font-weight: 400; }
    .chart svg { display: block; width: 100%; height: 180px; }
    .chart text { fill: var(--dim); font-size: 11.5px; font-variant-numeric: tabular-nums; }
    .grid { stroke: var(--rule); stroke-width: 1; }
    .line { fill: none; stroke-width: 2; stroke-linejoin: round; }
    .c0 { stroke: var(--c0); } .c1 { stroke: var(--c1); } .c2 { stroke: var(--c2); }
    .line.dashed { stroke-dasharray: 6 4; }
    .legend { display: flex; flex-wrap: wrap; gap: 0.1rem 1rem; font-size: 12.5px; color: var(--dim); }
    .legend i { display: inline-block; width: 16px; border-top: 3px solid; vertical-align: middle; margin-right: 5px; }
    .legend .c0 { border-color: var(--c0); } .legend .c1 { border-color: var(--c1); }
    .legend .c2 { border-color: var(--c2); } .legend .dashed { border-top-style: dashed; }
    .wide { overflow-x: auto; border: 1px solid var(--rule); border-radius: 8px; background: var(--card); }
    table { border-collapse: collapse; font-size: 13.5px; font-variant-numeric: tabular-nums; }
    .wide table { width: 100%; }
    th, td { padding: 0.3rem 0.75rem; white-space: nowrap; text-align: right; border-bottom: 1px solid var(--rule); }
    tbody tr:last-child > * { border-bottom: 0; }
    th { color: var(--dim); font-weight: 600; }
    .settings th, .settings td { text-align: left; padding-left: 0; white-space: normal; }
    .settings th { font-weight: 400; padding-right: 1.5rem; }
    .links { margin-top: 1.8rem; color: var(--dim); font-size: 13px; }
    .links a { color: var(--plain); margin-right: 0.8rem; }
    @media (max-width: 30rem) { .tiles { grid-template-columns: 1fr 1fr; } }
    @media (prefers-reduced-motion: reduce) { #bar { transition: none; } }
    """
}
