#!/usr/bin/env bash
# Makes the JSON Schemas of tests/grafana/ from Grafana's own types: the oldest and the newest that dashboards must suit.
#   grafana-schema.sh
# Closed types refuse what they do not know. Needs Node.js 18 and npm; run it to move to another version of Grafana.
# The result is committed, so that the tests need neither: Debian's npm alone brings hundreds of packages.
set -euo pipefail
OLDEST=10.4.1 NEWEST=13.2.3 GENERATOR=2.3.0
out=$(realpath "$(dirname "$0")/../grafana")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
echo '{"private": true}' > package.json
for version in "$OLDEST" "$NEWEST"; do
    npm install --silent --no-audit --no-fund --ignore-scripts "ts-json-schema-generator@$GENERATOR" "@grafana/schema@$version"
    raw=$(cd node_modules/@grafana/schema/dist && find . -path '*/raw/dashboard/x/*types.gen.d.ts' | head -1)
    raw=./node_modules/@grafana/schema/dist/${raw%%/dashboard/*}
    from() { find "$raw/$1/x" -name '*types.gen.d.ts' | sed 's/\.d\.ts$//'; }
    {
        echo "import { Dashboard as Whole } from '$(from dashboard)';"
        echo "export type whole = Whole;"
        for panel in bargauge stat table timeseries; do
            echo "import * as $panel from '$(from composable/$panel/panelcfg)';"
            echo "export type ${panel}Options = Partial<$panel.Options>;"
        done
        # A field's `custom` is the panel's too; stat and bargauge have none.
        echo "export type tableCustom = Partial<table.FieldConfig>;"
        echo "export type timeseriesCustom = Partial<timeseries.FieldConfig>;"
    } > all.ts
    npx ts-json-schema-generator --path all.ts --type '*' --no-type-check -o all.json
    node - "$version" > "$out/${version%%.*}.json" <<'JS'
const words = new Set(['description', 'default']);
const bare = (value) => Array.isArray(value) ? value.map(bare) : value && typeof value === 'object'
    ? Object.fromEntries(Object.entries(value).filter(([key, inner]) => !(words.has(key) && typeof inner === 'string')).map(([key, inner]) => [key, bare(inner)]))
    : value;
const made = JSON.parse(require('fs').readFileSync('all.json'));
const comment = `Made by tests/tools/grafana-schema.sh of @grafana/schema ${process.argv[2]}, Apache-2.0, by Grafana Labs`;
const lines = Object.entries(made.definitions).map(([name, inner]) => `${JSON.stringify(name)}: ${JSON.stringify(bare(inner))}`);
console.log(`{"$schema": ${JSON.stringify(made.$schema)}, "$comment": ${JSON.stringify(comment)}, "definitions": {\n${lines.join(',\n')}\n}}`);
JS
done
