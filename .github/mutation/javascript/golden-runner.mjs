// A test runner of StrykerJS: each golden file is a test, and a mutant is asked only those that reach it.

import { readdirSync, statSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const GOLDEN = fileURLToPath(new URL("../../../golden", import.meta.url));
const PARTS = ["rejections.json", "schedules", "stages/norm.json", "standard"];
const INJECTED = "__stryker__"; // where the changed program looks for the mutant that is to act

class GoldenFiles {
  static inject = [];

  capabilities() {
    return { reloadEnvironment: false }; // What was imported stays.
  }

  async init() {
    const names = PARTS.flatMap((part) => {
      if (part.endsWith(".json")) return [part];
      const inside = readdirSync(`${GOLDEN}/${part}`, { recursive: true });
      return inside.filter((name) => name.endsWith(".json")).map((name) => `${part}/${name}`);
    });
    // Small files first: a mutant that a small one notices needs no other.
    const size = new Map(names.map((name) => [name, statSync(`${GOLDEN}/${name}`).size]));
    this.names = names.sort((a, b) => size.get(a) - size.get(b));
    globalThis[INJECTED] ??= {};
    console.log = () => {}; // Thousands of wrong answers are expected here.
  }

  async dryRun() {
    const tests = [];
    for (const name of this.names) {
      globalThis[INJECTED].currentTestId = undefined; // The import belongs to no test.
      const start = performance.now();
      const failureMessage = await this.wrong(name);
      const status = failureMessage ? 1 : 0;
      tests.push({ id: name, name, status, failureMessage, timeSpentMs: performance.now() - start });
    }
    globalThis[INJECTED].currentTestId = undefined;
    return { status: "complete", tests, mutantCoverage: globalThis[INJECTED].mutantCoverage };
  }

  async mutantRun({ activeMutant, hitLimit, mutantActivation, testFilter }) {
    const injected = globalThis[INJECTED];
    if (mutantActivation !== "static") await this.program().catch(() => {});
    injected.activeMutant = activeMutant.id;
    injected.hitLimit = hitLimit;
    injected.hitCount = hitLimit === undefined ? undefined : 0;
    const asked = testFilter ? this.names.filter((name) => testFilter.includes(name)) : this.names;
    for (const [position, name] of asked.entries()) {
      const failureMessage = await this.wrong(name);
      if (!failureMessage) continue;
      // The mutants of one function die by the same files.
      this.names = [name, ...this.names.filter((other) => other !== name)];
      return { status: "killed", killedBy: [name], failureMessage, nrOfTests: position + 1 };
    }
    return { status: "survived", nrOfTests: asked.length };
  }

  program() {
    return import(pathToFileURL(`${process.cwd()}/check.mjs`));
  }

  /** What is wrong with the answers to a file; undefined if nothing is. */
  async wrong(name) {
    try {
      const { gradesOf } = await this.program();
      globalThis[INJECTED].currentTestId = name;
      for (const grade of gradesOf(`${GOLDEN}/${name}`)) {
        if (grade === "rounding" || grade === "diverge") return `${name}: ${grade}`;
      }
    } catch (error) {
      return `${name}: ${error}`;
    }
    return undefined;
  }
}

export const strykerPlugins = [{ kind: "TestRunner", name: "golden", injectableClass: GoldenFiles }];
