// Answers questions to the SDKs of this folder, one JSON object a line:
//
//	{"sdk": "stripe", "provider": "stripe", "op": "version" | "sign" | "verify", "delivery": {...}}
//
// "sign" returns the headers (and the body, where it carries the signature) that
// the SDK makes; "verify" whether it takes the delivery. The SDKs' clock is set
// to the delivery's "now".
import { createInterface } from "node:readline";
import { readFileSync } from "node:fs";
import { subjects } from "./subjects.mjs";

let now = 0;
const RealDate = Date;
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(now);
    else super(...args);
  }
  static now() {
    return now;
  }
};
// An SDK may warn while it refuses; standard output belongs to the answers.
for (const level of ["log", "info", "warn", "error", "debug"]) console[level] = () => {};

function version(name) {
  const manifest = new URL(`./node_modules/${name}/package.json`, import.meta.url);
  return JSON.parse(readFileSync(manifest, "utf8")).version;
}

// What an HTTP server hands to an SDK: names in lower case, lines joined.
function read(delivery) {
  const headers = {};
  for (const [name, lines] of Object.entries(delivery.headers ?? {})) headers[name.toLowerCase()] = lines.join(", ");
  const raw = delivery.body_base64 ? Buffer.from(delivery.body_base64, "base64") : Buffer.from(delivery.body ?? "", "utf8");
  return { ...delivery, headers, raw, body: raw.toString("utf8") };
}

async function answer({ sdk, provider, op, delivery }) {
  const subject = subjects[sdk]?.[provider];
  if (!subject) throw new Error(`nothing to ask ${sdk} about ${provider}`);
  if (op === "version") return { version: version(sdk), calls: subject.calls };
  now = delivery.now * 1000;
  if (op === "sign") return await subject.sign(read(delivery));
  try {
    return { accepted: (await subject.verify(read(delivery))) !== false };
  } catch (error) {
    return { accepted: false, why: String(error?.message ?? error) };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  let reply;
  try {
    reply = await answer(JSON.parse(line));
  } catch (error) {
    reply = { error: String(error?.stack ?? error) };
  }
  process.stdout.write(JSON.stringify(reply) + "\n");
}
