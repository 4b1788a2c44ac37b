// A dashboard of charts/stoker/dashboards, drawn from a real Prometheus.
//
// This is no Grafana: there is no server and no editor. But the components that draw, the units, the
// colours, the field options and the transformations are those that Grafana is made of, so a panel
// looks as it does there. Everything comes by the address: ?dashboard=…&prometheus=…&from=…&to=…
// (seconds) and &var-service=…; a variable that is not given has its first value, or all of them.

import '@fontsource/inter/400.css';
import '@fontsource/inter/500.css';
import React, { useEffect, useState } from 'react';
import { createRoot } from 'react-dom/client';
import {
  createTheme,
  DataFrame,
  FieldConfigSource,
  GrafanaTheme2,
  standardTransformers,
  standardTransformersRegistry,
  ThemeContext,
  transformDataFrame,
} from '@grafana/data';
import { GlobalStyles, PanelChrome } from '@grafana/ui';
import { firstValueFrom } from 'rxjs';
import { withFields } from './fields';
import { isEmpty, Lines, Mark, Rows, Stat } from './panels';
import { labelValues, lines, range, seconds, Span, stepOf, table, Target } from './prometheus';

const UNIT = 38; // pixels of a grid line, as in Grafana: 30 and a gap of 8
const GAP = 8;
const MARGIN = 16;
const COLUMNS = 24;
const HEADER = 56;
const given = new URLSearchParams(location.search);
const theme = createTheme({ colors: { mode: given.get('theme') === 'light' ? 'light' : 'dark' } });

interface Panel {
  id: number;
  type: string;
  title: string;
  description?: string;
  gridPos: { h: number; w: number; x: number; y: number };
  fieldConfig: FieldConfigSource;
  options: Record<string, any>;
  targets: Target[];
  transformations?: any[];
  collapsed?: boolean;
  panels?: Panel[];
}

type Values = Record<string, string>;

function fill(text: string, values: Values): string {
  return text.replace(/\$\{?(\w+)(?::\w+)?\}?/g, (whole, name) => values[name] ?? whole);
}

async function choose(variables: any[], span: Span): Promise<Values> {
  const values: Values = {};
  for (const each of variables) {
    if (each.type !== 'query') {
      continue;
    }
    const asked = given.get(`var-${each.name}`);
    if (asked || each.includeAll) {
      values[each.name] = asked ?? each.allValue ?? '.*';
    } else {
      values[each.name] = (await labelValues(fill(each.query, values), span))[0] ?? '';
    }
  }
  return values;
}

function bound(target: Target, values: Values, span: Span, step: number): Target {
  const least = seconds(target.interval ?? '15s');
  const whole = `${span.to - span.from}s`;
  const built = { __range: whole, __interval: `${step}s`, __rate_interval: `${Math.max(step + least, 4 * least)}s` };
  return { ...target, expr: fill(target.expr, { ...values, ...built }) };
}

async function fetched(panel: Panel, values: Values, span: Span, pixels: number): Promise<DataFrame[]> {
  const answers = panel.targets.map((target) => {
    const step = stepOf(target, span, pixels);
    const asked = bound(target, values, span, step);
    return target.instant ? table(asked, span, panel.targets.length === 1) : lines(asked, span, step);
  });
  const frames = (await Promise.all(answers)).flat();
  if (!panel.transformations?.length || !frames.length) {
    return frames;
  }
  return firstValueFrom(transformDataFrame(panel.transformations, frames));
}

async function marksOf(annotations: any[], values: Values, span: Span): Promise<Mark[]> {
  const wanted = annotations.filter((each) => each.enable && each.expr);
  const found = wanted.map(async (each) => {
    const step = seconds(each.step ?? '60s');
    const series = await range(bound({ refId: 'Anno', expr: each.expr }, values, span, step), span, step);
    const times = series.flatMap((one) => (one.values ?? []).map(([time]) => time * 1000));
    return [...new Set(times)].map((time) => ({ time, colour: each.iconColor }));
  });
  return (await Promise.all(found)).flat();
}

function View(props: { panel: Panel; values: Values; span: Span; marks: Mark[]; width: number }) {
  const { panel, values, span, marks } = props;
  const { x, y, w, h } = panel.gridPos;
  const column = (props.width - 2 * MARGIN + GAP) / COLUMNS;
  const place = { left: MARGIN + x * column, top: HEADER + y * UNIT, width: w * column - GAP, height: h * UNIT - GAP };
  const [data, setData] = useState<DataFrame[] | Error>();
  useEffect(() => {
    fetched(panel, values, span, place.width).then(setData, setData).finally(() => (pending -= 1));
  }, []);
  const style: React.CSSProperties = { position: 'absolute', ...place };
  return (
    <div style={style}>
      <PanelChrome title={panel.title} width={place.width} height={place.height}>
        {(width, height) => <Content {...{ panel, data, values, span, marks, width, height }} />}
      </PanelChrome>
    </div>
  );
}

function Content(props: {
  panel: Panel;
  data?: DataFrame[] | Error;
  values: Values;
  span: Span;
  marks: Mark[];
  width: number;
  height: number;
}) {
  const { panel, data, values, span, width, height } = props;
  if (!data || data instanceof Error) {
    return <Words text={data ? String(data) : ''} height={height} />;
  }
  if (isEmpty(panel.type, data)) {
    return <Words text={panel.fieldConfig.defaults.noValue ?? 'No data'} height={height} />;
  }
  const replace = (text: string) => fill(text, values);
  const [frames, source, registry] = withFields(panel.type, data, panel.fieldConfig, theme, replace);
  const drawn = { frames, options: panel.options, width, height, span };
  switch (panel.type) {
    case 'timeseries':
      return <Lines {...drawn} marks={props.marks} />;
    case 'stat':
      return <Stat {...drawn} source={source} registry={registry} theme={theme} />;
    case 'table':
      return <Rows {...drawn} />;
    default:
      return <Words text={`this viewer draws no ${panel.type}`} height={height} />;
  }
}

function Words({ text, height }: { text: string; height: number }) {
  const style = { alignItems: 'center', color: theme.colors.text.secondary, display: 'flex', height, justifyContent: 'center' };
  return <div style={style}>{text}</div>;
}

function Page(props: { dashboard: any; panels: Panel[]; values: Values; span: Span; marks: Mark[] }) {
  const { dashboard, panels, values, span } = props;
  const [size, setSize] = useState(window.innerWidth);
  useEffect(() => setSize(document.body.clientWidth), []);
  const rows = panels.filter((panel) => panel.type === 'row');
  const bottom = Math.max(...panels.map(({ gridPos }) => gridPos.y + gridPos.h));
  const chosen = Object.entries(values).map(([name, value]) => `${name}: ${value === '.*' ? 'All' : value}`);
  const clock = (time: number) => new Date(time * 1000).toISOString().slice(11, 16);
  const line = { color: theme.colors.text.primary, left: MARGIN, position: 'absolute' as const };
  return (
    <div id="board" style={{ height: HEADER + bottom * UNIT + GAP, position: 'relative', width: size }}>
      <div style={{ ...line, fontSize: 20, fontWeight: 500, top: 14 }}>{dashboard.title}</div>
      <div style={{ ...line, color: theme.colors.text.secondary, left: 'auto', right: MARGIN, top: 20 }}>
        {chosen.join(' · ')} · {clock(span.from)} to {clock(span.to)} UTC
      </div>
      {rows.map((row) => (
        <div key={row.id} style={{ ...line, fontSize: 16, fontWeight: 500, top: HEADER + row.gridPos.y * UNIT + 6 }}>
          {row.title}
        </div>
      ))}
      {panels
        .filter((panel) => panel.type !== 'row')
        .map((panel) => (
          <View key={panel.id} {...{ panel, values, span, marks: props.marks, width: size }} />
        ))}
    </div>
  );
}

// Rows that are closed hold their panels; open, they stand where Grafana would put them.
function opened(panels: Panel[]): Panel[] {
  let shift = 0;
  return panels.flatMap((panel) => {
    const moved = { ...panel, gridPos: { ...panel.gridPos, y: panel.gridPos.y + shift } };
    const inside = (panel.collapsed && panel.panels) || [];
    if (!inside.length) {
      return [moved];
    }
    const top = Math.min(...inside.map(({ gridPos }) => gridPos.y));
    const begin = moved.gridPos.y + 1;
    const placed = inside.map((each) => ({ ...each, gridPos: { ...each.gridPos, y: begin + each.gridPos.y - top } }));
    shift += Math.max(...placed.map(({ gridPos }) => gridPos.y + gridPos.h)) - begin;
    return [moved, ...placed];
  });
}

let pending = 1;

async function main(globals: GrafanaTheme2) {
  // Some have a second, older name.
  const transformers = new Map(Object.values(standardTransformers).map((each: any) => [each.id, each]));
  standardTransformersRegistry.setInit(() =>
    [...transformers.values()].map((each: any) => ({
      id: each.id,
      name: each.name,
      transformation: each,
      editor: () => null,
    })) as never
  );
  const dashboard = await (await fetch(`dashboards/${given.get('dashboard')}.json`)).json();
  const now = Math.floor(Date.now() / 1000);
  const span = { from: Number(given.get('from') ?? now - 3600), to: Number(given.get('to') ?? now) };
  const values = await choose(dashboard.templating?.list ?? [], span);
  const marks = await marksOf(dashboard.annotations?.list ?? [], values, span);
  const wanted = given.get('rows')?.split('|');
  const panels = wanted ? only(opened(dashboard.panels), wanted) : opened(dashboard.panels);
  pending = panels.filter((panel) => panel.type !== 'row').length;
  createRoot(document.getElementById('page')!).render(
    <ThemeContext.Provider value={globals}>
      <GlobalStyles />
      <Page {...{ dashboard, panels, values, span, marks }} />
    </ThemeContext.Provider>
  );
  const settled = () => {
    if (pending > 0 || !document.getElementById('board')) {
      return void setTimeout(settled, 100);
    }
    document.body.dataset.cut = cut().join('|');
    // The picture is as high as the board; whoever takes it reads the height here.
    document.title = `${document.getElementById('board')!.scrollHeight}`;
  };
  settled();
}

// Words of tables that reach out of their cell, where nobody sees them.
function cut(): string[] {
  const found = new Set<string>();
  for (const cell of document.querySelectorAll('[role="columnheader"], [role="cell"]')) {
    const edge = cell.getBoundingClientRect();
    const words = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    while (words.nextNode()) {
      const range = document.createRange();
      range.selectNodeContents(words.currentNode);
      const { left, right } = range.getBoundingClientRect();
      if (left < edge.left - 1 || right > edge.right + 1) {
        found.add(words.currentNode.textContent!);
      }
    }
  }
  return [...found];
}

// Some rows of a long dashboard, moved up to the top.
function only(panels: Panel[], rows: string[]): Panel[] {
  let row = '';
  const kept = panels.filter((panel) => {
    row = panel.type === 'row' ? panel.title : row;
    return rows.includes(row);
  });
  const place = new Map<number, number>();
  let [top, before, height] = [-1, -1, 0];
  for (const { gridPos } of kept) {
    if (gridPos.y !== before) {
      top = top < 0 ? 0 : top + Math.max(height, 0);
      height = 0;
      before = gridPos.y;
    }
    height = Math.max(height, gridPos.h);
    place.set(gridPos.y, top);
  }
  return kept.map((panel) => ({ ...panel, gridPos: { ...panel.gridPos, y: place.get(panel.gridPos.y)! } }));
}

main(theme).catch((error) => {
  document.title = 'failed';
  document.body.innerText = String(error);
});
