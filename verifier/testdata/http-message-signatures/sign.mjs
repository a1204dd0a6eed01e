// Writes signed.json: random requests that npm's http-message-signatures 1.0.6
// signed, which TestHTTPSignatureOfOthers verifies. Keys are new at every run.
//
//	npm install --no-save http-message-signatures@1.0.6
//	node sign.mjs
import { createHash, generateKeyPairSync, randomBytes, randomInt } from "node:crypto";
import { writeFileSync } from "node:fs";
import signatures from "http-message-signatures";

const { createSigner, httpbis } = signatures;
const pick = (list) => list[randomInt(list.length)];
const pair = (kind, options) => {
  const { publicKey, privateKey } = generateKeyPairSync(kind, options);
  return { public_key: publicKey.export({ type: "spki", format: "pem" }), signWith: privateKey };
};

const secret = randomBytes(32);
const keys = {
  "hmac-sha256": { secret: secret.toString("base64"), signWith: secret },
  ed25519: pair("ed25519"),
  "ecdsa-p256-sha256": pair("ec", { namedCurve: "P-256" }),
  "ecdsa-p384-sha384": pair("ec", { namedCurve: "P-384" }),
  "rsa-v1_5-sha256": pair("rsa", { modulusLength: 2048 }),
  "rsa-pss-sha512": pair("rsa", { modulusLength: 2048 }),
};

const targets = [
  "https://hooks.example.com/in",
  "https://hooks.example.com/a%20b/?x=1&y=%2F",
  "https://hooks.example.com:8443/in?x=two+words&name=J%C3%BCrgen&x2=",
  "http://example.com/in?fa%C3%A7ade%22%3A%20=something&x=1",
];
const optional = ["@method", "@target-uri", "@authority", "@scheme", "@path", "@query", "content-type", "x-many", "x-empty", "x-dict", "date"];

function shuffle(list) {
  return list.map((item) => [randomInt(1 << 30), item]).sort((a, b) => a[0] - b[0]).map(([, item]) => item);
}

async function signed(alg) {
  const body = randomBytes(randomInt(120));
  const url = pick(targets);
  const digest = pick([["sha256", "sha-256"], ["sha512", "sha-512"]]);
  const created = new Date((1700000000 + randomInt(1e8)) * 1000);
  const headers = {
    "Content-Type": pick(["application/json", "text/plain; charset=utf-8"]),
    "Content-Digest": `${digest[1]}=:${createHash(digest[0]).update(body).digest("base64")}:`,
    Date: created.toUTCString(),
    "X-Many": ["one", "two, three"],
    "X-Empty": "",
    "X-Dict": "a=1,    b=2;x=1;y=2,   c=(a   b   c)",
  };
  const fields = shuffle(["content-digest", ...optional.filter(() => randomInt(2))]);
  if (url.includes("x=")) fields.push('@query-param;name="x"');
  if (url.includes("fa%C3")) fields.push('@query-param;name="fa%C3%A7ade%22%3A%20"');
  const message = await httpbis.signMessage(
    {
      key: createSigner(keys[alg].signWith, alg, "key-1"),
      name: pick(["sig", "sig1", "a-b.c"]),
      fields,
      params: shuffle(["created", "keyid", ...["alg", "expires", "nonce", "tag"].filter(() => randomInt(2))]),
      paramValues: { created, expires: new Date(created.getTime() + 60000), nonce: randomBytes(9).toString("base64"), tag: 'say "tag" \\ twice' },
    },
    { method: pick(["POST", "PUT"]), url, headers },
  );
  return { alg, method: message.method, url, created: created.getTime() / 1000, headers: message.headers, body: body.toString("base64") };
}

const requests = [];
for (const alg of Object.keys(keys)) for (let i = 0; i < 12; i++) requests.push(await signed(alg));
const published = Object.fromEntries(Object.entries(keys).map(([alg, { signWith, ...key }]) => [alg, key]));
writeFileSync("signed.json", JSON.stringify({ made_by: "npm http-message-signatures 1.0.6", keys: published, requests }, null, "\t") + "\n");
