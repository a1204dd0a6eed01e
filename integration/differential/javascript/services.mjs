// SDKs of other services: see subjects.mjs for the shape.
import { createRequire } from "node:module";
import { createSecretKey } from "node:crypto";
import adyen from "@adyen/api-library";
import { verifyWebhookSignature as todoist } from "@doist/todoist-sdk";
import Linq from "@linqapp/sdk";
import { verifyWebhookRequest as lovable } from "@lovable.dev/webhooks-js";
import { webhooks as moderation } from "@moderation-api/sdk";
import { Nango } from "@nangohq/node";
import * as signalwire from "@signalwire/compatibility-api";
import { verifyPlainWebhook as plain } from "@team-plain/typescript-sdk";
import { AwsLambdaReceiver as Zoom } from "@zoom/rivet/marketplace";
import Cronofy from "cronofy";
import * as hook0 from "hook0-client";
import plivo from "plivo";

const require = createRequire(import.meta.url);
// Parts that their packages export only through a client or a server.
const { WebhookManager: HighLevel } = require("./node_modules/@gohighlevel/api-client/dist/lib/webhook/webhook-manager.js");
const Viber = require("./node_modules/viber-bot/lib/message/message-validator.js");
const messagebird = require("messagebird/lib/signature.js");
const messagebirdJWT = require("messagebird/lib/webhook-signature-jwt.js");

const silent = { debug() {}, info() {}, warn() {}, error() {} };

// Repeated fields as a list, as the middleware hands them on.
function fields(d) {
  const params = {};
  for (const [name, value] of new URLSearchParams(d.body)) {
    params[name] = name in params ? [].concat(params[name], value) : value;
  }
  return params;
}

export const services = {
  "@adyen/api-library": {
    adyen_payments: {
      calls: "HmacValidator.validateHMAC",
      verify: (d) => {
        const item = JSON.parse(d.body).notificationItems[0].NotificationRequestItem;
        return new adyen.hmacValidator().validateHMAC(item, d.secret);
      },
    },
  },
  "@doist/todoist-sdk": {
    todoist: {
      calls: "verifyWebhookSignature",
      verify: (d) => todoist({ rawBody: d.raw, signature: d.headers["x-todoist-hmac-sha256"], clientSecret: d.secret }),
    },
  },
  "@gohighlevel/api-client": {
    highlevel: {
      calls: "WebhookManager.verifyEd25519Signature",
      verify: (d) => new HighLevel(silent).verifyEd25519Signature(d.raw, d.headers["x-ghl-signature"], d.public_key),
    },
  },
  "@linqapp/sdk": {
    linq: {
      calls: "webhooks.unwrap",
      verify: (d) => void new Linq({ apiKey: "key" }).webhooks.unwrap(d.body, { headers: d.headers, key: d.secret }),
    },
  },
  "@lovable.dev/webhooks-js": {
    lovable: {
      calls: "verifyWebhookRequest",
      verify: async (d) => {
        const req = new Request(d.url, { method: d.method, headers: d.headers, body: d.raw });
        await lovable({ req, secret: d.secret });
      },
    },
  },
  "@moderation-api/sdk": {
    moderation_api: {
      calls: "webhooks.constructEvent",
      verify: (d) => void moderation.constructEvent(d.raw, d.headers["modapi-signature"], d.secret),
    },
  },
  "@nangohq/node": {
    nango: {
      calls: "verifyIncomingWebhookRequest",
      verify: (d) => new Nango({ secretKey: "key", webhookSigningKey: d.secret }).verifyIncomingWebhookRequest(d.body, d.headers),
    },
  },
  "@signalwire/compatibility-api": {
    signalwire: {
      calls: "RestClient.validateRequest, validateRequestWithBody",
      verify: (d) => {
        const signature = d.headers["x-signalwire-signature"] ?? d.headers["x-twilio-signature"];
        return new URL(d.url).searchParams.has("bodySHA256")
          ? signalwire.RestClient.validateRequestWithBody(d.secret, signature, d.url, d.body)
          : signalwire.RestClient.validateRequest(d.secret, signature, d.url, fields(d));
      },
    },
  },
  "@team-plain/typescript-sdk": {
    plain: {
      calls: "verifyPlainWebhook",
      verify: (d) => {
        const { error } = plain(d.body, d.headers["plain-request-signature"], d.secret);
        if (error) throw error;
      },
    },
  },
  "@zoom/rivet": {
    zoom: {
      calls: "AwsLambdaReceiver.start",
      verify: async (d) => {
        const handle = new Zoom({ webhooksSecretToken: d.secret }).start();
        const { statusCode } = await handle({ body: d.body, headers: d.headers, isBase64Encoded: false }, {});
        return statusCode === 200;
      },
    },
  },
  cronofy: {
    cronofy: {
      calls: "hmacValid",
      verify: (d) =>
        new Cronofy({ client_secret: d.secret }).hmacValid({
          hmac: d.headers["cronofy-hmac-sha256"], body: d.raw, client_secret: d.secret,
        }),
    },
  },
  "hook0-client": {
    hook0: {
      calls: "verifyWebhookSignature",
      verify: (d) => hook0.verifyWebhookSignature(d.headers["x-hook0-signature"], d.raw, new Headers(d.headers), d.secret, 300),
    },
  },
  messagebird: {
    messagebird: {
      calls: "validate of lib/signature",
      verify: (d) =>
        messagebird.validate({ headers: d.headers, query: Object.fromEntries(new URL(d.url).searchParams), body: d.raw }, d.secret),
    },
    messagebird_jwt: {
      calls: "verify of lib/webhook-signature-jwt",
      verify: async (d) =>
        messagebirdJWT.verify(d.url, d.raw, d.headers["messagebird-signature-jwt"], createSecretKey(Buffer.from(d.secret))),
    },
  },
  plivo: {
    plivo_v3: {
      calls: "validateV3Signature",
      verify: (d) =>
        plivo.validateV3Signature(
          d.method, d.url, d.headers["x-plivo-signature-v3-nonce"], d.secret, d.headers["x-plivo-signature-v3"], fields(d)),
    },
  },
  "viber-bot": {
    viber: {
      calls: "MessageValidator.validateMessage",
      verify: (d) => new Viber(silent, d.secret).validateMessage(d.headers["x-viber-content-signature"], d.raw),
    },
  },
};
