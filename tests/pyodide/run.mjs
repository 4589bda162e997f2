// Starts pyodide, lets it see the source tree and the unpacked wheels, and runs inside.py in it.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [build, root, ...args] = process.argv.slice(2);
try {
  const { loadPyodide } = await import(pathToFileURL(join(build, "node_modules/pyodide/pyodide.mjs")));
  const pyodide = await loadPyodide({ env: { HOME: "/home", PYTHONDONTWRITEBYTECODE: "1" } });
  for (const [place, folder] of [["/site", join(build, "site")], ["/tree", root]]) {
    pyodide.FS.mkdirTree(place);
    pyodide.FS.mount(pyodide.FS.filesystems.NODEFS, { root: folder }, place);
  }
  const run = pyodide.runPython(`${readFileSync(join(root, "tests/pyodide/inside.py"), "utf8")}\nrun`);
  process.exit(run(pyodide.toPy(args)));
} catch (error) { // node would print the line of the program that it comes from, a megabyte
  console.error(error.message);
  process.exit(3);
}
