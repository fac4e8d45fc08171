"""The page a simulated node shows in a browser. Texts only."""

from __future__ import annotations

from typing import Final

PAGE: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Simulated node</title>
<link rel="stylesheet" href="css/main.css">
<script src="js/main.js" defer></script>
</head>
<body>
<h1>Simulated node</h1>
<p>It speaks NodeODM's API and pretends to process. Made for trying things out; results are not photogrammetry.</p>
<table id="tasks"><tr><th>Task</th><th>Status</th><th>Progress</th></tr></table>
</body>
</html>
"""

STYLE: Final = """body { font: 16px/1.5 system-ui, sans-serif; margin: 3em auto; max-width: 50em; color: #222; }
table { border-collapse: collapse; }
th, td { padding: 0.2em 1em 0.2em 0; text-align: left; }
"""

SCRIPT: Final = """const table = document.getElementById("tasks");
const ask = (path) => fetch(path + location.search).then((reply) => reply.json());
const row = (cells) => {
  const line = table.insertRow();
  cells.forEach((cell) => { line.insertCell().textContent = cell; });
};
async function refresh() {
  const list = await ask("task/list");
  const infos = Array.isArray(list) ? await Promise.all(list.map(({uuid}) => ask(`task/${uuid}/info`))) : [];
  while (table.rows.length > 1) table.deleteRow(1);
  infos.filter((info) => !info.error).forEach((info) => row([info.name, info.status.code, `${info.progress} %`]));
}
refresh();
setInterval(refresh, 2000);
"""
