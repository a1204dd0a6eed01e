// SDKs that sign: see subjects.mjs for the shape.
import { createRequire } from "node:module";
import adyen from "@adyen/api-library";
import { Signature as HubSpot } from "@hubspot/api-client";
import notion from "@notionhq/client";
import * as octokit from "@octokit/webhooks-methods";
import * as sanity from "@sanity/webhook";
import Finch from "@tryfinch/finch-api";
import { WorkOS } from "@workos-inc/node";
import braintree from "braintree";
import coinbase from "coinbase-commerce-node";
import ModernTreasury from "modern-treasury";
import Orb from "orb-billing";
import smartcar from "smartcar";
import { Webhook as StandardWebhook } from "standardwebhooks";
import Stripe from "stripe";
import { Webhook as SvixWebhook } from "svix";
import twilio from "twilio";

const require = createRequire(import.meta.url);
const retell = require("retell-sdk/lib/webhook_auth.js");
// The package's own entry asks for a package that it does not depend on.
const sinch = require("./node_modules/@sinch/sdk-client/dist/utils/authorization.helper.js");

const moment = (d) => new Date(d.now * 1000);
const form = (d) => new URLSearchParams(d.body);

// The Standard Webhooks shape: an id and a time beside the signature.
function standard(Webhook, prefix, options) {
  return {
    sign: (d) => ({
      headers: {
        [`${prefix}-timestamp`]: [String(d.now)],
        [`${prefix}-signature`]: [new Webhook(d.secret, options).sign(d.headers[`${prefix}-id`], moment(d), d.raw)],
      },
    }),
    verify: (d) => void new Webhook(d.secret, options).verify(d.raw, d.headers),
  };
}

// Twilio's parameters as its middleware hands them on: repeated ones as a list.
function twilioParams(d) {
  const params = {};
  for (const [name, value] of form(d)) {
    params[name] = name in params ? [].concat(params[name], value) : value;
  }
  return params;
}
const twilioJSON = (d) => new URL(d.url).searchParams.has("bodySHA256");

const gateway = (d) =>
  new braintree.BraintreeGateway({
    environment: braintree.Environment.Sandbox,
    merchantId: "merchant",
    publicKey: d.params.public_key,
    privateKey: d.secret,
  });

const hubspot = (version, header, extra) => ({
  calls: "Signature.getSignature, Signature.isValid",
  sign: (d) => ({
    headers: {
      [header]: [
        HubSpot.getSignature(d.method, version, {
          clientSecret: d.secret,
          requestBody: d.body,
          url: d.url,
          timestamp: d.now * 1000,
        }),
      ],
      ...extra(d),
    },
  }),
  verify: (d) =>
    HubSpot.isValid({
      method: d.method,
      signatureVersion: version,
      signature: d.headers[header.toLowerCase()],
      clientSecret: d.secret,
      requestBody: d.body,
      url: d.url,
      timestamp: d.headers["x-hubspot-request-timestamp"],
    }),
});

export const signers = {
  "@adyen/api-library": {
    adyen: {
      calls: "HmacValidator.calculateHmac, validateHMACSignature",
      sign: (d) => ({ headers: { HmacSignature: [new adyen.hmacValidator().calculateHmac(d.body, d.secret)] } }),
      verify: (d) => new adyen.hmacValidator().validateHMACSignature(d.secret, d.headers.hmacsignature, d.body),
    },
  },
  "@hubspot/api-client": {
    hubspot: hubspot("v3", "X-HubSpot-Signature-v3", (d) => ({ "X-HubSpot-Request-Timestamp": [String(d.now * 1000)] })),
    hubspot_v1: hubspot("v1", "X-HubSpot-Signature", () => ({ "X-HubSpot-Signature-Version": ["v1"] })),
    hubspot_v2: hubspot("v2", "X-HubSpot-Signature", () => ({ "X-HubSpot-Signature-Version": ["v2"] })),
  },
  "@notionhq/client": {
    notion: {
      calls: "signWebhookPayload, verifyWebhookSignature",
      sign: async (d) => ({
        headers: { "X-Notion-Signature": [await notion.signWebhookPayload({ body: d.raw, verificationToken: d.secret })] },
      }),
      verify: (d) =>
        notion.verifyWebhookSignature({ body: d.raw, signature: d.headers["x-notion-signature"], verificationToken: d.secret }),
    },
  },
  "@octokit/webhooks-methods": {
    github: {
      calls: "sign, verify",
      sign: async (d) => ({ headers: { "X-Hub-Signature-256": [await octokit.sign(d.secret, d.body)] } }),
      verify: (d) => octokit.verify(d.secret, d.body, d.headers["x-hub-signature-256"]),
    },
  },
  "@sanity/webhook": {
    sanity: {
      calls: "encodeSignatureHeader, isValidSignature",
      sign: async (d) => ({ headers: { "sanity-webhook-signature": [await sanity.encodeSignatureHeader(d.body, d.now * 1000, d.secret)] } }),
      verify: (d) => sanity.isValidSignature(d.body, d.headers["sanity-webhook-signature"], d.secret),
    },
  },
  "@sinch/sdk-client": {
    sinch_app: {
      calls: "generateAuthorizationHeader, validateAuthenticationHeader",
      sign: (d) => {
        const at = moment(d).toISOString();
        const { pathname } = new URL(d.url);
        const value = sinch.generateAuthorizationHeader(
          d.method, d.body, d.headers["content-type"], `x-timestamp:${at}`, pathname, d.params.app_key, d.secret);
        return { headers: { "X-Timestamp": [at], Authorization: [value] } };
      },
      verify: (d) =>
        sinch.validateAuthenticationHeader(d.params.app_key, d.secret, d.headers, d.body, new URL(d.url).pathname, d.method),
    },
    sinch_conversation: {
      calls: "calculateWebhookSignature, validateWebhookSignature",
      sign: (d) => ({
        headers: {
          "x-sinch-webhook-signature-timestamp": [String(d.now)],
          "x-sinch-webhook-signature-algorithm": ["HmacSHA256"],
          "x-sinch-webhook-signature": [
            sinch.calculateWebhookSignature(
              sinch.computeSignedData(d.body, d.headers["x-sinch-webhook-signature-nonce"], String(d.now)), d.secret),
          ],
        },
      }),
      verify: (d) => sinch.validateWebhookSignature(d.secret, d.headers, d.body),
    },
    sinch_numbers: { calls: "validateSignatureHeader", verify: (d) => sinch.validateSignatureHeader(d.secret, d.headers, d.body) },
  },
  "@tryfinch/finch-api": {
    finch: {
      calls: "webhooks.signPayload, webhooks.verifySignature",
      sign: (d) => ({
        headers: {
          "Finch-Timestamp": [String(d.now)],
          "Finch-Signature": [
            new Finch().webhooks.signPayload(d.body, {
              eventId: d.headers["finch-event-id"], timestamp: moment(d), secret: Buffer.from(d.secret, "base64"),
            }),
          ],
        },
      }),
      verify: (d) => void new Finch().webhooks.verifySignature(d.body, d.headers, d.secret),
    },
  },
  "@workos-inc/node": {
    workos: {
      calls: "webhooks.computeSignature, webhooks.verifyHeader",
      sign: async (d) => {
        const at = d.now * 1000;
        const mac = await new WorkOS("key").webhooks.computeSignature(at, d.body, d.secret);
        return { headers: { "WorkOS-Signature": [`t=${at}, v1=${mac}`] } };
      },
      verify: async (d) =>
        new WorkOS("key").webhooks.verifyHeader({ payload: d.body, sigHeader: d.headers["workos-signature"], secret: d.secret }),
    },
  },
  braintree: {
    braintree: {
      calls: "webhookTesting.sampleNotification, webhookNotification.parse",
      sign: async (d) => {
        const kinds = Object.values(braintree.WebhookNotification.Kind);
        const kind = kinds[Number(d.headers.draw) % kinds.length];
        const sample = await gateway(d).webhookTesting.sampleNotification(kind, d.headers["draw-id"]);
        return { headers: { "Content-Type": ["application/x-www-form-urlencoded"] }, body: new URLSearchParams(sample).toString() };
      },
      verify: async (d) => {
        const fields = form(d);
        await gateway(d).webhookNotification.parse(fields.get("bt_signature"), fields.get("bt_payload"));
      },
    },
  },
  "coinbase-commerce-node": {
    coinbase_commerce: {
      calls: "Webhook.computeSignature, Webhook.verifyEventBody",
      sign: (d) => ({ headers: { "X-CC-Webhook-Signature": [coinbase.Webhook.computeSignature(d.body, d.secret)] } }),
      verify: (d) => void coinbase.Webhook.verifyEventBody(d.body, d.headers["x-cc-webhook-signature"], d.secret),
    },
  },
  "modern-treasury": {
    modern_treasury: {
      calls: "webhooks.getSignature, webhooks.validateSignature",
      sign: (d) => ({
        headers: { "X-Signature": [new ModernTreasury({ apiKey: "k", organizationID: "o" }).webhooks.getSignature(d.body, { key: d.secret })] },
      }),
      verify: (d) =>
        new ModernTreasury({ apiKey: "k", organizationID: "o" }).webhooks.validateSignature(d.body, d.headers, { key: d.secret }),
    },
  },
  "orb-billing": {
    orb: {
      calls: "webhooks.signPayload, webhooks.verifySignature",
      sign: (d) => {
        const timestamp = moment(d).toISOString().slice(0, 19);
        const value = new Orb({ apiKey: "key" }).webhooks.signPayload(d.body, { timestamp, secret: Buffer.from(d.secret) });
        return { headers: { "X-Orb-Timestamp": [timestamp], "X-Orb-Signature": [value] } };
      },
      verify: (d) => void new Orb({ apiKey: "key" }).webhooks.verifySignature(d.body, d.headers, d.secret),
    },
  },
  "retell-sdk": {
    retell: {
      calls: "sign, verify of lib/webhook_auth",
      sign: async (d) => ({ headers: { "x-retell-signature": [await retell.sign(d.body, d.secret)] } }),
      verify: (d) => retell.verify(d.body, d.secret, d.headers["x-retell-signature"]),
    },
  },
  smartcar: {
    smartcar: {
      calls: "hashChallenge, verifyPayload",
      sign: (d) => ({ headers: { "SC-Signature": [smartcar.hashChallenge(d.secret, d.body)] } }),
      verify: (d) => smartcar.verifyPayload(d.secret, d.headers["sc-signature"], JSON.parse(d.body)),
    },
  },
  standardwebhooks: {
    standard_webhooks: { calls: "Webhook.sign, Webhook.verify", ...standard(StandardWebhook, "webhook") },
    polar: { calls: "Webhook.sign, Webhook.verify, format raw", ...standard(StandardWebhook, "webhook", { format: "raw" }) },
    bigcommerce: { calls: "Webhook.sign, Webhook.verify, format raw", ...standard(StandardWebhook, "webhook", { format: "raw" }) },
  },
  stripe: {
    stripe: {
      calls: "webhooks.generateTestHeaderString, webhooks.signature.verifyHeader",
      sign: (d) => ({
        headers: {
          "Stripe-Signature": [
            new Stripe("sk_test").webhooks.generateTestHeaderString({ payload: d.body, secret: d.secret, timestamp: d.now }),
          ],
        },
      }),
      verify: (d) => new Stripe("sk_test").webhooks.signature.verifyHeader(d.raw, d.headers["stripe-signature"], d.secret, 300),
    },
  },
  svix: { svix: { calls: "Webhook.sign, Webhook.verify", ...standard(SvixWebhook, "svix") } },
  twilio: {
    twilio: {
      calls: "getExpectedTwilioSignature, validateRequest, validateRequestWithBody",
      sign: (d) => ({
        headers: {
          "X-Twilio-Signature": [twilio.getExpectedTwilioSignature(d.secret, d.url, twilioJSON(d) ? {} : twilioParams(d))],
        },
      }),
      verify: (d) =>
        twilioJSON(d)
          ? twilio.validateRequestWithBody(d.secret, d.headers["x-twilio-signature"], d.url, d.body)
          : twilio.validateRequest(d.secret, d.headers["x-twilio-signature"], d.url, twilioParams(d)),
    },
  },
};
