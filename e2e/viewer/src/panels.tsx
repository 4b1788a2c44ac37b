// The three kinds of panel that the dashboards have, drawn by Grafana's own components.

import React, { useLayoutEffect } from 'react';
import {
  DataFrame,
  dateTime,
  FieldConfigOptionsRegistry,
  FieldConfigSource,
  FieldType,
  getFieldDisplayValues,
  GrafanaTheme2,
  TimeRange,
} from '@grafana/data';
import { BigValue, Table, TimeSeries, UPlotConfigBuilder, usePanelContext } from '@grafana/ui';
import { Span } from './prometheus';

export interface Mark {
  time: number; // milliseconds
  colour: string;
}

interface Drawn {
  frames: DataFrame[];
  options: Record<string, any>;
  width: number;
  height: number;
  span: Span;
}

export function timeRange(span: Span): TimeRange {
  const [from, to] = [dateTime(span.from * 1000), dateTime(span.to * 1000)];
  return { from, to, raw: { from, to } };
}

export function Lines({ frames, options, width, height, span, marks }: Drawn & { marks: Mark[] }) {
  return (
    <TimeSeries
      frames={frames}
      width={width}
      height={height}
      timeRange={timeRange(span)}
      timeZone="utc"
      legend={options.legend}
      options={options}
    >
      {(config: UPlotConfigBuilder) => <Marks config={config} marks={marks} />}
    </TimeSeries>
  );
}

// Annotations as Grafana draws them: a dashed line down the plot, in the annotation's colour.
function Marks({ config, marks }: { config: UPlotConfigBuilder; marks: Mark[] }) {
  usePanelContext();
  useLayoutEffect(() => {
    config.addHook('draw', (plot) => {
      const { ctx, bbox } = plot;
      ctx.save();
      ctx.beginPath();
      ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
      ctx.clip();
      ctx.lineWidth = 1;
      ctx.setLineDash([4, 4]);
      for (const mark of marks) {
        const x = plot.valToPos(mark.time, 'x', true);
        ctx.strokeStyle = mark.colour;
        ctx.beginPath();
        ctx.moveTo(x, bbox.top);
        ctx.lineTo(x, bbox.top + bbox.height);
        ctx.stroke();
      }
      ctx.restore();
    });
  }, [config, marks]);
  return null;
}

interface StatDrawn extends Drawn {
  source: FieldConfigSource;
  registry: FieldConfigOptionsRegistry;
  theme: GrafanaTheme2;
}

export function Stat({ frames, options, width, height, source, theme }: StatDrawn) {
  const values = getFieldDisplayValues({
    data: frames,
    fieldConfig: source,
    reduceOptions: options.reduceOptions,
    replaceVariables: (text: string) => text,
    sparkline: options.graphMode !== 'none',
    theme,
    timeZone: 'utc',
  });
  return (
    <div style={{ display: 'flex', gap: 4 }}>
      {values.map((each, index) => (
        <BigValue
          key={index}
          value={each.display}
          sparkline={each.sparkline}
          count={values.length}
          width={(width - 4 * (values.length - 1)) / values.length}
          height={height}
          colorMode={options.colorMode}
          graphMode={options.graphMode}
          justifyMode={options.justifyMode}
          textMode={values.length > 1 ? ('value_and_name' as never) : ('value' as never)}
          theme={theme}
        />
      ))}
    </div>
  );
}

export function Rows({ frames, options, width, height }: Drawn) {
  const [frame] = frames;
  return (
    <Table
      data={frame}
      width={width}
      height={height}
      cellHeight={options.cellHeight}
      showTypeIcons={false}
      initialSortBy={options.sortBy}
    />
  );
}

export function isEmpty(type: string, frames: DataFrame[]): boolean {
  if (type === 'table') {
    return !frames.some((frame) => frame.length > 0);
  }
  const numbers = frames.flatMap((frame) => frame.fields.filter((field) => field.type === FieldType.number));
  return !numbers.some((field) => field.values.some((value) => Number.isFinite(value)));
}
