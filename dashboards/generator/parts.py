"""The parts that every dashboard is made of: variables, links, selectors and panels.

A panel is asked for with what it shows; what all panels share (data source, thresholds, layout) is
decided here, once. The rules that they follow are held by tests/dashboards.rs.
"""

TENANT = 'job=~"$job",instance=~"$instance",tenant=~"$tenant"'
CLOUD = TENANT + ',cloud_id=~"$cloud"'
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
HOURS = "suffix: VM h"
COST = "suffix: (internal cost)"
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


def tenants(metric, more="", by=""):
    """One series per tenant (and per label of `by`), however many exporters poll that tenant."""
    labels = ", ".join(filter(None, ["tenant", by]))
    return f'max by ({labels}) ({metric}{{{TENANT}{"," if more else ""}{more}}})'


def clouds(metric, more="", by=""):
    """The same per cloud."""
    labels = ", ".join(filter(None, ["tenant", "cloud_id", by]))
    return f'max by ({labels}) ({metric}{{{CLOUD}{"," if more else ""}{more}}})'


def counted(expr):
    """A number of things of the inventory: 0 where there are none, and nothing where nobody knows."""
    return f"{expr} or 0 * sum(flexvm_exporter_vms_omitted{{{TENANT}}})"


def named(expr):
    """Adds the cloud's name to series with a `cloud_id`; a cloud that is gone goes by its id."""
    info = f"max by (tenant, cloud_id, cloud) (flexvm_cloud_info{{{CLOUD}}})"
    return (
        f"({expr}) * on (tenant, cloud_id) group_left (cloud) {info} or on (tenant, cloud_id) "
        f'label_replace({expr}, "cloud", "$1", "cloud_id", "(.+)")'
    )


def thresholds(*steps):
    """`thresholds(GREEN, (80, YELLOW))`: the colour below the first value, then from each value on."""
    first, *rest = steps or (GREEN,)
    return {
        "mode": "absolute",
        "steps": [{"color": first, "value": None}] + [{"color": color, "value": value} for value, color in rest],
    }


FILLING = thresholds(GREEN, (0.8, YELLOW), (0.95, RED))
ANY_IS_BAD = thresholds(GREEN, (1, RED))
PLAIN = thresholds(BLUE)


def query(expr, legend="", instant=False, table=False):
    return {
        "datasource": DATASOURCE,
        "editorMode": "code",
        "expr": expr,
        "format": "table" if table else "time_series",
        "instant": instant or table,
        "range": not (instant or table),
        "legendFormat": legend or "__auto",
    }


def panel(kind, title, description, unit, queries, width, height, steps=None, links=(), mappings=(), **more):
    targets = [dict(target, refId=chr(ord("A") + number)) for number, target in enumerate(queries)]
    defaults = {
        "unit": unit,
        "thresholds": steps or PLAIN,
        "mappings": list(mappings),
        "links": list(links),
        "noValue": "–",
        "color": {"mode": "thresholds"},
    }
    defaults.update(more.pop("defaults", {}))
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "fieldConfig": {"defaults": defaults, "overrides": more.pop("overrides", [])},
        "gridPos": {"w": width, "h": height, "x": 0, "y": 0},
        "targets": targets,
        **more,
    }


def stat(title, description, unit, expr, steps=None, legend="", width=4, decimals=None, **more):
    """One figure, as it is now."""
    defaults = {} if decimals is None else {"decimals": decimals}
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "orientation": "auto",
        "textMode": "value_and_name" if legend else "value",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
    }
    target = query(expr, legend, instant=True)
    return panel("stat", title, description, unit, [target], width, 4, steps, options=options, defaults=defaults, **more)


def series(title, description, unit, *queries, stacked=False, width=12, height=8, steps=None, minimum=0, maximum=None):
    """Figures over time. Only what adds up may be `stacked`."""
    defaults = {
        "color": {"mode": "palette-classic"},
        "custom": {
            "drawStyle": "line",
            "lineWidth": 1,
            "fillOpacity": 30 if stacked else 0,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "line" if steps else "off"},
        },
    }
    if minimum is not None:
        defaults["min"] = minimum
    if maximum is not None:
        defaults["max"] = maximum
    options = {
        "legend": {"displayMode": "table", "placement": "right", "showLegend": True, "calcs": ["lastNotNull", "max"]},
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    targets = [query(expr, legend) for expr, legend in queries]
    return panel(
        "timeseries", title, description, unit, targets, width, height, steps, options=options, defaults=defaults
    )


def bars(title, description, unit, expr, legend, steps=None, width=12, height=8, maximum=None):
    """The largest few, as they are now, each with a bar of its own: nothing is added up."""
    options = {
        "reduceOptions": {"values": False, "calcs": ["lastNotNull"], "fields": ""},
        "orientation": "horizontal",
        "displayMode": "basic",
        "valueMode": "color",
        "showUnfilled": True,
        "minVizWidth": 8,
        "minVizHeight": 16,
    }
    defaults = {"min": 0} if maximum is None else {"min": 0, "max": maximum}
    target = query(expr, legend, instant=True)
    return panel(
        "bargauge", title, description, unit, [target], width, height, steps, options=options, defaults=defaults
    )


def table(title, description, unit, columns, hidden=(), names=None, width=24, height=10, sort=None, links=None):
    """A row per set of labels. `columns` are (title, expression, unit, thresholds); a title of `None`
    hides the values, since that query only brings labels. `names` renames labels, `links` gives a
    column (by its final name) a link."""
    rename, overrides = dict(names or {}), []
    exclude = {"Time": True, **dict.fromkeys(hidden, True)}
    for number, (heading, _, column_unit, steps) in enumerate(columns):
        value = "Value" if len(columns) == 1 else f"Value #{chr(ord('A') + number)}"
        if heading is None:
            exclude[value] = True
            continue
        rename[value] = heading
        properties = [{"id": "unit", "value": column_unit or unit}]
        if steps:
            properties.append({"id": "thresholds", "value": steps})
            properties.append({"id": "custom.cellOptions", "value": {"type": "color-text"}})
        overrides.append({"matcher": {"id": "byName", "options": heading}, "properties": properties})
    for column, link in (links or {}).items():
        properties = [{"id": "links", "value": [link]}]
        overrides.append({"matcher": {"id": "byName", "options": column}, "properties": properties})
    # No footer: some tables hold rows that overlap, and one that adds up would be false.
    options = {"showHeader": True, "cellHeight": "sm"}
    options["sortBy"] = [{"displayName": sort, "desc": True}] if sort else []
    transformations = [
        {"id": "merge", "options": {}},
        {"id": "organize", "options": {"excludeByName": exclude, "indexByName": {}, "renameByName": rename}},
    ]
    targets = [query(expr, table=True) for _, expr, _, _ in columns]
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True, "inspect": False}
    return panel(
        "table", title, description, unit, targets, width, height,
        options=options, transformations=transformations, overrides=overrides, defaults={"custom": custom},
    )
