// SDKs that verify only: see subjects.mjs for the shape.
import { createRequire } from "node:module";
import acuity from "acuityscheduling";
import Anthropic from "@anthropic-ai/sdk";
import { verifyWebhook as clerk } from "@clerk/backend/webhooks";
import dropboxSign from "@dropbox/sign";
import EasyPost from "@easypost/api";
import { ElevenLabsClient } from "@elevenlabs/elevenlabs-js";
import { validateSignature as line } from "@line/bot-sdk";
import { LinearWebhookClient } from "@linear/sdk/webhooks";
import Mux from "@mux/mux-node";
import { Paddle } from "@paddle/paddle-node-sdk";
import * as polar from "@polar-sh/sdk/2026-04";
import { EventWebhook } from "@sendgrid/eventwebhook";
import "@shopify/shopify-api/adapters/node";
import { shopifyApi, ApiVersion, LogSeverity } from "@shopify/shopify-api";
import { verifySlackRequest } from "@slack/bolt";
import { WebhooksManager as Box } from "box-node-sdk/managers/webhooks";
import { basicAuthValidator } from "chargebee";
import { Crisp } from "crisp-api";
import { verifyKey } from "discord-interactions";
import { Fathom } from "fathom-typescript";
import * as gocardless from "gocardless-nodejs/webhooks";
import Lithic from "lithic";
import OpenAI from "openai";
import plivo from "plivo";
import Pusher from "pusher";
import replicate from "replicate";
import { Resend } from "resend";
import { WebhooksHelper as Square } from "square";
import streamChat from "stream-chat";
import Telnyx from "telnyx";
import { WebflowClient } from "webflow-api";

const require = createRequire(import.meta.url);
const razorpay = require("razorpay/dist/utils/razorpay-utils.js");

const form = (d) => new URLSearchParams(d.body);

const shopify = (d) =>
  shopifyApi({
    apiKey: "key",
    apiSecretKey: d.secret,
    hostName: "hooks.example.com",
    apiVersion: Object.values(ApiVersion)[0],
    isEmbeddedApp: false,
    logger: { level: LogSeverity.Error, log: async () => {} },
  });

export const verifiers = {
  "@anthropic-ai/sdk": {
    anthropic: {
      calls: "beta.webhooks.unwrap",
      verify: (d) => void new Anthropic({ apiKey: "key" }).beta.webhooks.unwrap(d.body, { headers: d.headers, key: d.secret }),
    },
  },
  "@clerk/backend": {
    clerk: {
      calls: "verifyWebhook",
      verify: async (d) =>
        void (await clerk(new Request(d.url, { method: "POST", headers: d.headers, body: d.raw }), { signingSecret: d.secret })),
    },
  },
  "@dropbox/sign": {
    dropbox_sign: {
      calls: "EventCallbackRequest.init, EventCallbackHelper.isValid",
      verify: (d) =>
        dropboxSign.EventCallbackHelper.isValid(d.secret, dropboxSign.EventCallbackRequest.init(JSON.parse(form(d).get("json")))),
    },
  },
  "@easypost/api": {
    easypost: {
      calls: "Utils.validateWebhook",
      verify: (d) => void new EasyPost("key").Utils.validateWebhook(d.raw, d.headers, d.secret),
    },
  },
  "@elevenlabs/elevenlabs-js": {
    elevenlabs: {
      calls: "webhooks.constructEvent",
      verify: async (d) =>
        void (await new ElevenLabsClient({ apiKey: "key" }).webhooks.constructEvent(d.body, d.headers["elevenlabs-signature"], d.secret)),
    },
  },
  "@line/bot-sdk": {
    line: { calls: "validateSignature", verify: (d) => line(d.raw, d.secret, d.headers["x-line-signature"]) },
  },
  "@linear/sdk": {
    linear: { calls: "LinearWebhookClient.verify", verify: (d) => new LinearWebhookClient(d.secret).verify(d.raw, d.headers["linear-signature"]) },
  },
  "@mux/mux-node": {
    mux: {
      calls: "webhooks.verifySignature",
      verify: async (d) =>
        void (await new Mux({ tokenId: "id", tokenSecret: "key" }).webhooks.verifySignature(d.body, d.headers, d.secret)),
    },
  },
  "@paddle/paddle-node-sdk": {
    paddle: {
      calls: "webhooks.isSignatureValid",
      verify: (d) => new Paddle("key").webhooks.isSignatureValid(d.body, d.secret, d.headers["paddle-signature"]),
    },
  },
  "@polar-sh/sdk": {
    polar: { calls: "webhooks.validateEvent of 2026-04", verify: async (d) => void (await polar.webhooks.validateEvent(d.raw, d.headers, d.secret)) },
  },
  "@sendgrid/eventwebhook": {
    sendgrid: {
      calls: "EventWebhook.verifySignature",
      verify: (d) => {
        const hook = new EventWebhook();
        return hook.verifySignature(
          hook.convertPublicKeyToECDSA(d.public_key),
          d.raw,
          d.headers["x-twilio-email-event-webhook-signature"],
          d.headers["x-twilio-email-event-webhook-timestamp"],
        );
      },
    },
  },
  "@shopify/shopify-api": {
    shopify: {
      calls: "webhooks.validate",
      verify: async (d) => {
        const rawRequest = { method: d.method, url: new URL(d.url).pathname, headers: d.headers };
        return (await shopify(d).webhooks.validate({ rawBody: d.body, rawRequest, rawResponse: {} })).valid;
      },
    },
  },
  "@slack/bolt": {
    slack: {
      calls: "verifySlackRequest",
      // Its receivers hand the time over as a number.
      verify: (d) => {
        const time = d.headers["x-slack-request-timestamp"];
        const headers = { ...d.headers, "x-slack-request-timestamp": time === undefined ? undefined : Number(time) };
        verifySlackRequest({ signingSecret: d.secret, headers, body: d.body, nowMilliseconds: d.now * 1000 });
      },
    },
  },
  acuityscheduling: {
    acuity: {
      calls: "verifyMessageSignature",
      verify: (d) => void acuity.verifyMessageSignature(d.secret, d.body, d.headers["x-acuity-signature"]),
    },
  },
  "box-node-sdk": {
    box: {
      calls: "WebhooksManager.validateMessage",
      verify: (d) => Box.validateMessage(d.body, d.headers, d.secret),
    },
  },
  chargebee: {
    chargebee: {
      calls: "basicAuthValidator",
      verify: async (d) =>
        void (await basicAuthValidator((user, password) => `${user}:${password}` === d.secret)(d.headers)),
    },
  },
  "crisp-api": {
    crisp: {
      calls: "verifyWidget, which checks as verifyHook does",
      verify: (d) =>
        new Crisp().verifyWidget(d.secret, JSON.parse(d.body), d.headers["x-crisp-request-timestamp"], d.headers["x-crisp-signature"]),
    },
  },
  "discord-interactions": {
    discord: {
      calls: "verifyKey",
      verify: (d) => verifyKey(d.raw, d.headers["x-signature-ed25519"], d.headers["x-signature-timestamp"], d.public_key),
    },
  },
  "fathom-typescript": {
    fathom: { calls: "Fathom.verifyWebhook", verify: (d) => void Fathom.verifyWebhook(d.secret, d.headers, d.raw) },
  },
  "gocardless-nodejs": {
    gocardless: {
      calls: "verifySignature",
      verify: (d) => void gocardless.verifySignature(d.raw, d.secret, d.headers["webhook-signature"]),
    },
  },
  lithic: {
    lithic: {
      calls: "webhooks.verifySignature",
      verify: (d) => void new Lithic({ apiKey: "key" }).webhooks.verifySignature(d.body, d.headers, d.secret),
    },
  },
  openai: {
    openai: {
      calls: "webhooks.verifySignature",
      verify: async (d) => void (await new OpenAI({ apiKey: "key" }).webhooks.verifySignature(d.body, d.headers, d.secret)),
    },
  },
  plivo: {
    plivo_v2: {
      calls: "validateSignature",
      verify: (d) => plivo.validateSignature(d.url, d.headers["x-plivo-signature-v2-nonce"], d.headers["x-plivo-signature-v2"], d.secret),
    },
  },
  pusher: {
    pusher: {
      calls: "webhook().isValid",
      verify: (d) =>
        new Pusher({ appId: "1", key: d.headers["x-pusher-key"], secret: d.secret, cluster: "eu" })
          .webhook({ headers: d.headers, rawBody: d.body })
          .isValid(),
    },
  },
  razorpay: {
    razorpay: {
      calls: "validateWebhookSignature",
      verify: (d) => razorpay.validateWebhookSignature(d.body, d.headers["x-razorpay-signature"], d.secret),
    },
  },
  replicate: {
    replicate: { calls: "validateWebhook", verify: (d) => replicate.validateWebhook({ headers: d.headers, body: d.body }, d.secret) },
  },
  resend: {
    resend: {
      calls: "webhooks.verify",
      verify: (d) =>
        void new Resend("re_key").webhooks.verify({
          payload: d.body,
          headers: { id: d.headers["svix-id"], timestamp: d.headers["svix-timestamp"], signature: d.headers["svix-signature"] },
          webhookSecret: d.secret,
        }),
    },
  },
  square: {
    square: {
      calls: "WebhooksHelper.verifySignature",
      verify: (d) =>
        Square.verifySignature({
          requestBody: d.body,
          signatureHeader: d.headers["x-square-hmacsha256-signature"],
          signatureKey: d.secret,
          notificationUrl: d.url,
        }),
    },
  },
  "stream-chat": {
    getstream: { calls: "CheckSignature", verify: (d) => streamChat.CheckSignature(d.raw, d.secret, d.headers["x-signature"]) },
  },
  telnyx: {
    telnyx: {
      calls: "webhooks.unwrap",
      verify: async (d) => void (await new Telnyx({ apiKey: "key" }).webhooks.unwrap(d.body, { headers: d.headers, key: d.public_key })),
    },
  },
  "webflow-api": {
    webflow: {
      calls: "webhooks.verifySignature",
      verify: (d) => new WebflowClient({ accessToken: "key" }).webhooks.verifySignature({ headers: d.headers, body: d.body, secret: d.secret }),
    },
  },
};
