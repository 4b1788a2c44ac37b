// Questions to Prometheus, and its answers as Grafana's data frames.
//
// The steps are Grafana's: a point for each pixel at the most, none closer than the panel's own
// interval, and `$__rate_interval` four of these, or Prometheus would rate over a single sample.

import { DataFrame, FieldType, renderLegendFormat } from '@grafana/data';

export interface Target {
  refId: string;
  expr: string;
  legendFormat?: string;
  interval?: string;
  instant?: boolean;
}

export interface Span {
  from: number; // seconds
  to: number;
}

type Labels = Record<string, string>;
interface Series {
  metric: Labels;
  values?: Array<[number, string]>;
  value?: [number, string];
}

const SOURCE = new URLSearchParams(location.search).get('prometheus') ?? '';
const UNITS: Record<string, number> = { s: 1, m: 60, h: 3600, d: 86400 };

async function ask(path: string, parameters: Record<string, string>) {
  const body = new URLSearchParams(parameters);
  const answer = await fetch(`${SOURCE}/api/v1/${path}?${body}`);
  const found = await answer.json();
  if (found.status !== 'success') {
    throw new Error(`${found.error} in ${parameters.query}`);
  }
  return found.data;
}

export function seconds(text: string): number {
  const found = /^(\d+)([smhd])$/.exec(text);
  return found ? Number(found[1]) * UNITS[found[2]] : 15;
}

export function stepOf(target: Target, span: Span, pixels: number): number {
  const least = seconds(target.interval ?? '15s');
  return Math.max(least, Math.ceil((span.to - span.from) / pixels));
}

export async function labelValues(query: string, span: Span): Promise<string[]> {
  const found = /^label_values\((.*),\s*(\w+)\)$/s.exec(query);
  if (!found) {
    throw new Error(`not a query of label values: ${query}`);
  }
  const [, series, label] = found;
  const when = { start: String(span.from), end: String(span.to) };
  return ask(`label/${label}/values`, { 'match[]': series, ...when });
}

export async function range(target: Target, span: Span, step: number): Promise<Series[]> {
  // On multiples of the step, as Grafana asks, so that pictures of the same data are the same.
  const start = String(Math.floor(span.from / step) * step);
  const end = String(Math.floor(span.to / step) * step);
  const found = await ask('query_range', { query: target.expr, start, end, step: String(step) });
  return found.result;
}

export async function lines(target: Target, span: Span, step: number): Promise<DataFrame[]> {
  const found = await range(target, span, step);
  // All steps, also those without a value, so that a gap is seen as one.
  const times: number[] = [];
  for (let time = Math.floor(span.from / step) * step; time <= span.to; time += step) {
    times.push(time);
  }
  return found.map(({ metric, values = [] }) => [metric, new Map(values)] as const).map(([metric, known]) => ({
    refId: target.refId,
    name: legend(target, metric),
    length: times.length,
    fields: [
      {
        name: 'Time',
        type: FieldType.time,
        config: { interval: step * 1000 },
        values: times.map((time) => time * 1000),
      },
      {
        name: 'Value',
        type: FieldType.number,
        labels: metric,
        config: { displayNameFromDS: legend(target, metric) },
        values: times.map((time) => (known.has(time) ? Number(known.get(time)) : null)),
      },
    ],
  }));
}

export async function table(target: Target, span: Span, alone: boolean): Promise<DataFrame[]> {
  const found = await ask('query', { query: target.expr, time: String(span.to) });
  const series: Series[] = found.result;
  if (!series.length) {
    return [];
  }
  const names = [...new Set(series.flatMap((each) => Object.keys(each.metric)))];
  const column = (name: string, type: FieldType, values: unknown[]) => ({ name, type, config: {}, values });
  const time = series.map((each) => (each.value?.[0] ?? 0) * 1000);
  const value = series.map((each) => Number(each.value?.[1]));
  return [
    {
      refId: target.refId,
      length: series.length,
      fields: [
        column('Time', FieldType.time, time),
        ...names.map((name) => column(name, FieldType.string, series.map((each) => each.metric[name] ?? ''))),
        column(alone ? 'Value' : `Value #${target.refId}`, FieldType.number, value),
      ],
    },
  ];
}

function legend(target: Target, labels: Labels): string {
  return renderLegendFormat(target.legendFormat || '', labels) || JSON.stringify(labels);
}
