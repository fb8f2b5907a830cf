"""What stands around the panels: variables, links between the dashboards, and the layout."""

from .parts import DATASOURCE, TENANT

WIDTH = 24
TITLES = {
    "flexvm-fleet-overview": "FlexVM / Fleet overview",
    "flexvm-capacity": "FlexVM / Capacity",
    "flexvm-vms": "FlexVM / VMs",
    "flexvm-usage-and-cost": "FlexVM / Usage and cost",
    "flexvm-exporter": "FlexVM / Exporter",
}


def link(title, uid, **variables):
    """A data link to another dashboard, with the variables of this one and those that are given."""
    more = "".join(f"&var-{name}={value}" for name, value in variables.items())
    keep = "&".join(f"${{{name}:queryparam}}" for name in ("datasource", "job", "instance"))
    return {"title": title, "url": f"/d/{uid}?{keep}{more}&${{__url_time_range}}", "targetBlank": False}


def choice(name, label, query, regex=""):
    """A variable whose values Prometheus knows; `All` matches whatever there is."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": "PrometheusVariableQueryEditor-VariableQuery"},
        "regex": regex,
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }


def variables(search):
    datasource = {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "regex": "",
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "current": {"selected": False, "text": "default", "value": "default"},
        "options": [],
        "hide": 0,
        "skipUrlSync": False,
    }
    # The name is shown and the id is used: names are not unique.
    by_name = r'/[{,]cloud="(?<text>(?:[^"\\]|\\.)*)"|cloud_id="(?<value>[^"]+)"/g'
    found = [
        datasource,
        choice("job", "Job", "label_values(flexvm_exporter_build_info, job)"),
        choice("instance", "Instance", 'label_values(flexvm_exporter_build_info{job=~"$job"}, instance)'),
        choice(
            "tenant", "Tenant", 'label_values(flexvm_up{job=~"$job",instance=~"$instance"}, tenant)'
        ),
        choice("cloud", "Cloud", f"query_result(flexvm_cloud_info{{{TENANT}}})", by_name),
    ]
    if search:
        textbox = {"type": "textbox", "name": "search", "label": search, "query": "", "hide": 0, "skipUrlSync": False}
        found.append({**textbox, "current": {"selected": True, "text": "", "value": ""}, "options": []})
    return {"list": found}


def row(title):
    """A heading over the panels that follow."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": WIDTH, "h": 1}}


def laid_out(panels):
    """Panels from left to right, a new line where the next does not fit, ids in that order."""
    x = y = tallest = 0
    for number, panel in enumerate(panels, start=1):
        place = panel["gridPos"]
        if x + place["w"] > WIDTH or panel["type"] == "row":
            x, y, tallest = 0, y + tallest, 0
        place.update(x=x, y=y)
        x, tallest = x + place["w"], max(tallest, place["h"])
        panel["id"] = number
    return panels


def dashboard(uid, description, panels, search=None, past="now-24h"):
    return {
        "uid": uid,
        "title": TITLES[uid],
        "description": description,
        "tags": ["flexvm"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "fiscalYearStartMonth": 0,
        "liveNow": False,
        "refresh": "1m",
        "time": {"from": past, "to": "now"},
        "timepicker": {},
        "timezone": "utc",
        "weekStart": "",
        "annotations": {"list": []},
        "links": [
            {
                "type": "link",
                "title": title,
                "url": f"/d/{other}",
                "keepTime": True,
                "includeVars": True,
                "icon": "dashboard",
                "tags": [],
                "asDropdown": False,
                "targetBlank": False,
                "tooltip": "",
            }
            for other, title in TITLES.items()
            if other != uid
        ],
        "templating": variables(search),
        "panels": laid_out(panels),
    }
