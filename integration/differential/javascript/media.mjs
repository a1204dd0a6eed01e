// SDKs of services for content, media and calls: see subjects.mjs for the shape.
import { createRequire } from "node:module";
import * as contentful from "@contentful/node-apps-toolkit";
import hygraph from "@hygraph/utils";
import ImageKit from "@imagekit/nodejs";
import { signatureHelper as kontent } from "@kontent-ai/webhook-helper";
import { WebhookHandler as Liveblocks } from "@liveblocks/node";
import cloudinary from "cloudinary";
import ImageKitLegacy from "imagekit";
import { WebhookReceiver } from "livekit-server-sdk";

const require = createRequire(import.meta.url);
// The package's own entry is for browsers too, and needs more than it verifies with.
const filestack = require("./node_modules/filestack-js/build/main/lib/api/security.node.js");

// Contentful's canonical request: the path with its query.
function canonical(d) {
  const { pathname, search } = new URL(d.url);
  return { method: d.method, path: pathname + search, headers: { ...d.headers }, body: d.body };
}

export const media = {
  "@contentful/node-apps-toolkit": {
    contentful: {
      calls: "signRequest, verifyRequest",
      sign: (d) => {
        const signed = contentful.signRequest(d.secret, canonical(d), d.now * 1000);
        return { headers: Object.fromEntries(Object.entries(signed).map(([name, value]) => [name, [String(value)]])) };
      },
      verify: (d) => contentful.verifyRequest(d.secret, canonical(d), 300),
    },
  },
  "@hygraph/utils": {
    hygraph: {
      calls: "generateWebhookSignature, verifyWebhookSignature",
      sign: (d) => ({
        headers: { "gcms-signature": [hygraph.generateWebhookSignature({ rawPayload: d.body, environmentName: "main", secret: d.secret })] },
      }),
      verify: (d) => hygraph.verifyWebhookSignature({ rawPayload: d.body, signature: d.headers["gcms-signature"], secret: d.secret }),
    },
  },
  "@imagekit/nodejs": {
    imagekit: {
      calls: "webhooks.unwrap",
      verify: (d) => void new ImageKit({ privateKey: "key" }).webhooks.unwrap(d.body, { headers: d.headers, key: d.secret }),
    },
  },
  "@kontent-ai/webhook-helper": {
    kontent_ai: {
      calls: "getHashFromString, isValidSignatureFromString",
      sign: (d) => ({ headers: { "X-Kontent-ai-Signature": [kontent.getHashFromString(d.body, d.secret)] } }),
      verify: (d) => kontent.isValidSignatureFromString(d.body, d.secret, d.headers["x-kontent-ai-signature"]),
    },
  },
  "@liveblocks/node": {
    liveblocks: {
      calls: "WebhookHandler.verifyRequest",
      verify: (d) => void new Liveblocks(d.secret).verifyRequest({ headers: d.headers, rawBody: d.body }),
    },
  },
  cloudinary: {
    cloudinary: {
      calls: "utils.verifyNotificationSignature",
      verify: (d) => {
        cloudinary.v2.config({ api_secret: d.secret });
        return cloudinary.v2.utils.verifyNotificationSignature(d.body, d.headers["x-cld-timestamp"], d.headers["x-cld-signature"]);
      },
    },
  },
  "filestack-js": {
    filestack: {
      calls: "validateWebhookSignature",
      verify: (d) =>
        filestack.validateWebhookSignature(d.secret, d.body, { timestamp: d.headers["fs-timestamp"], signature: d.headers["fs-signature"] }),
    },
  },
  imagekit: {
    imagekit_legacy: {
      calls: "verifyWebhookEvent",
      verify: (d) =>
        void new ImageKitLegacy({ publicKey: "p", privateKey: "k", urlEndpoint: "https://ik.example.com" }).verifyWebhookEvent(
          d.raw, d.headers["x-ik-signature"], d.secret),
    },
  },
  "livekit-server-sdk": {
    livekit: {
      calls: "WebhookReceiver.receive",
      verify: async (d) => void (await new WebhookReceiver(d.params.api_key, d.secret).receive(d.body, d.headers.authorization)),
    },
  },
};
