// SPDX-License-Identifier: Apache-2.0

/// The live page's script: asks for `/status.json` once a second, puts figures in their places, and draws the charts.
/// Texts go in as text, never as markup.
enum LiveScript {
  static let text = #"""
    'use strict';
    const place = id => document.getElementById(id);
    const space = 'http://www.w3.org/2000/svg';
    let latest = null, misses = 0;

    function shape(name, attributes, text) {
      const element = document.createElementNS(space, name);
      for (const key in attributes) element.setAttribute(key, attributes[key]);
      if (text !== undefined) element.textContent = text;
      return element;
    }

    // The smallest round number that is not below the value.
    function roundUp(value) {
      if (!(value > 0)) return 1;
      const power = Math.pow(10, Math.floor(Math.log10(value)));
      return [1, 1.5, 2, 3, 4, 5, 6, 8, 10].map(step => step * power).find(end => end >= value * 0.999);
    }

    function number(value) {
      const digits = Math.abs(value) >= 100 || Number.isInteger(value) ? 0 : Math.abs(value) >= 1 ? 1 : 2;
      return value.toFixed(digits);
    }

    function clock(seconds) {
      if (seconds < 120) return number(Math.round(seconds * 10) / 10) + ' s';
      const whole = Math.round(seconds), two = n => String(n).padStart(2, '0');
      return whole < 3600 ? Math.floor(whole / 60) + ':' + two(whole % 60) + ' min'
        : Math.floor(whole / 3600) + ':' + two(Math.floor(whole / 60) % 60) + ' h';
    }

    // Lines over time. Each series has a name, a class and values; null is a gap.
    function chart(id, times, series, end) {
      const box = place(id), width = Math.max(240, box.clientWidth), height = 180;
      if (!box.clientWidth) return;
      const left = 46, right = 12, top = 10, bottom = 22;
      const highest = Math.max(0, ...series.flatMap(one => one.values.filter(value => value !== null)));
      const most = end || roundUp(highest);
      const begin = times[0] || 0, last = Math.max(times[times.length - 1] || 0, begin + 1);
      const x = time => left + (time - begin) / (last - begin) * (width - left - right);
      const y = value => height - bottom - Math.min(value, most) / most * (height - top - bottom);
      const svg = shape('svg', { viewBox: `0 0 ${width} ${height}`, role: 'img' });
      svg.append(shape('title', {}, series.map(one => one.name).join(', ')));
      for (let step = 0; step <= 4; step += 1) {
        const value = most * step / 4, at = y(value);
        svg.append(shape('line', { x1: left, x2: width - right, y1: at, y2: at, class: 'grid' }));
        svg.append(shape('text', { x: left - 6, y: at + 4, 'text-anchor': 'end' }, number(value)));
      }
      for (const share of [0, 0.5, 1]) {
        const anchor = share === 0 ? 'start' : share === 1 ? 'end' : 'middle';
        const time = begin + (last - begin) * share;
        svg.append(shape('text', { x: x(time), y: height - 5, 'text-anchor': anchor }, clock(time)));
      }
      for (const one of series) {
        let path = '', pen = 'M';
        one.values.forEach((value, index) => {
          if (value === null) { pen = 'M'; return; }
          path += pen + x(times[index]).toFixed(1) + ' ' + y(value).toFixed(1);
          pen = 'L';
        });
        // A point alone would not be seen.
        if (path) svg.append(shape('path', { d: path + 'h0.1', class: 'line ' + one.look }));
      }
      const legend = document.createElement('div');
      legend.className = 'legend';
      for (const one of series.length > 1 ? series : []) {
        const entry = document.createElement('span'), mark = document.createElement('i');
        mark.className = one.look;
        entry.append(mark, one.name);
        legend.append(entry);
      }
      box.replaceChildren(svg, legend);
    }

    function draw() {
      const past = latest && latest.history;
      if (!past || past.seconds.length < 2) return;
      place('charts').hidden = false;
      const scaled = (values, unit) => values.map(value => typeof value === 'number' ? value / unit : null);
      const live = latest.page.isLive;
      chart('chart-rates', past.seconds, [
        ...(latest.page.isRelay ? [{ name: "the hypervisor's stream", look: 'c1', values: scaled(past.streamRate, 1e6) }] : []),
        ...(live ? [{ name: 'guest writes', look: 'c1', values: scaled(past.dirtyRate, 1e6) },
          { name: 'memory is sent again at', look: 'c2', values: scaled(past.transferRate, 1e6) }] : []),
        { name: 'on the wire', look: 'c0', values: scaled(past.wireRate, 1e6) }]);
      if (!latest.page.isRelay) chart('chart-remaining', past.seconds,
        [{ name: 'memory to go', look: 'c0', values: scaled(past.remaining, 1048576) }]);
      if (!live) return;
      chart('chart-throttle', past.seconds,
        [{ name: 'throttle', look: 'c1', values: scaled(past.throttle, 1) }], 100);
      chart('chart-downtime', past.seconds,
        [{ name: 'expected', look: 'c0', values: scaled(past.expectedDowntime, 1) },
          { name: 'allowed', look: 'c1 dashed', values: scaled(past.downtimeLimit, 1) }]);
    }

    function fill(id, rows, first) {
      const old = place(id), body = document.createElement('tbody');
      body.id = id;
      for (const row of rows) {
        const line = document.createElement('tr');
        row.forEach((text, index) => {
          const cell = document.createElement(index === 0 && first ? 'th' : 'td');
          cell.textContent = text;
          line.append(cell);
        });
        body.append(line);
      }
      old.replaceWith(body);
    }

    function show(status) {
      latest = status;
      const page = status.page;
      for (const id in page.figures) {
        const element = place(id);
        if (element && element.textContent !== page.figures[id]) element.textContent = page.figures[id];
      }
      document.title = page.figures.headline + ' · PageFerry';
      document.body.className = page.mood + (page.isLive ? ' live' : '') + (page.isRelay ? ' relay' : '')
        + (page.isOver ? ' over' : '');
      place('bar').style.width = page.progress + '%';
      fill('iterations', page.iterations, false);
      fill('settings', status.settings.map(one => [one.name, one.value]), true);
      draw();
    }

    function stale(text) {
      place('stale').textContent = text;
      place('stale').hidden = !text;
    }

    async function poll() {
      try {
        const answer = await fetch('status.json', { cache: 'no-store' });
        if (!answer.ok) throw new Error(answer.status);
        show(await answer.json());
        misses = 0;
        stale('');
      } catch (problem) {
        misses += 1;
        const over = latest && latest.page.isOver;
        if (misses > 1 && !over) stale('Nobody answers; this is what was seen last. The command says on '
          + 'its terminal how the migration ended.');
      }
      // What is over does not change any more, and its sender is about to go.
      if (!(latest && latest.page.isOver)) setTimeout(poll, misses > 5 ? 5000 : 1000);
    }

    addEventListener('resize', draw);
    poll();
    """#
}
