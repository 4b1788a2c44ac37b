// Grafana's field options without Grafana: what a panel's `fieldConfig` may set is taken over as it
// is, for the options that occur in it.

import {
  applyFieldOverrides,
  cacheFieldDisplayNames,
  DataFrame,
  FieldConfigOptionsRegistry,
  FieldConfigSource,
  GrafanaTheme2,
  standardFieldConfigEditorRegistry,
} from '@grafana/data';

// What Grafana's own panels start from.
const LINES = {
  axisPlacement: 'auto',
  barAlignment: 0,
  drawStyle: 'line',
  fillOpacity: 0,
  gradientMode: 'none',
  lineInterpolation: 'linear',
  lineWidth: 1,
  pointSize: 5,
  scaleDistribution: { type: 'linear' },
  showPoints: 'auto',
  spanNulls: false,
  stacking: { group: 'A', mode: 'none' },
  thresholdsStyle: { mode: 'off' },
};
const CELLS = { align: 'auto', cellOptions: { type: 'auto' }, inspect: false };
export const CUSTOM: Record<string, object> = { timeseries: LINES, table: CELLS, stat: {} };

const STANDARD = ['color', 'decimals', 'displayName', 'links', 'mappings', 'max', 'min', 'noValue', 'thresholds', 'unit'];

function registry(source: FieldConfigSource): FieldConfigOptionsRegistry {
  const asked = source.overrides.flatMap((rule) => rule.properties.map((each) => each.id));
  const own = Object.keys(source.defaults.custom ?? {}).map((name) => `custom.${name}`);
  const ids = [...new Set([...STANDARD, ...own, ...asked])];
  return new FieldConfigOptionsRegistry(() =>
    ids.map((id) => ({
      id,
      path: id.replace(/^custom\./, ''),
      isCustom: id.startsWith('custom.'),
      name: id,
      editor: () => null,
      override: () => null,
      process: (value: unknown) => (id === 'custom.stacking' ? { group: 'A', ...(value as object) } : value),
      shouldApply: () => true,
      settings: {},
    })) as never
  );
}

export function withFields(
  type: string,
  data: DataFrame[],
  given: FieldConfigSource,
  theme: GrafanaTheme2,
  replace: (text: string) => string
): [DataFrame[], FieldConfigSource, FieldConfigOptionsRegistry] {
  const source: FieldConfigSource = {
    defaults: { ...given.defaults, custom: { ...CUSTOM[type], ...given.defaults.custom } },
    overrides: given.overrides,
  };
  const options = registry(source);
  standardFieldConfigEditorRegistry.setInit(() => []);
  const made = applyFieldOverrides({
    data,
    fieldConfig: source,
    fieldConfigRegistry: options,
    replaceVariables: replace,
    theme,
    timeZone: 'utc',
  });
  // A colour goes by this name, which is lost where frames are joined.
  cacheFieldDisplayNames(made);
  return [made, source, options];
}
