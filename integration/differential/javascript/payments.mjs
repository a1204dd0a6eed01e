// SDKs of payment services: see subjects.mjs for the shape.
import { createRequire } from "node:module";
import { Cashfree, CFEnvironment } from "cashfree-pg";
import DodoPayments from "dodopayments";
import * as fedapay from "fedapay";
import gr4vy from "@gr4vy/sdk";
import { WebhookSignatureValidator as MercadoPago } from "mercadopago";
import { OpenNodeClient } from "opennode";
import Whop from "@whop/sdk";

const require = createRequire(import.meta.url);
const { SignatureValidator: Mollie } = require("./node_modules/mollie-api-typescript/dist/commonjs/utils/webhooks/signature_validator.js");
const worldline = require("./node_modules/onlinepayments-sdk-nodejs/lib/cjs/src/webhooks/validation.js");
const onfido = require("@onfido/api");

export const payments = {
  "@gr4vy/sdk": {
    gr4vy: {
      calls: "verifyWebhook",
      verify: (d) =>
        void gr4vy.verifyWebhook(
          d.body, d.secret, d.headers["x-gr4vy-webhook-signatures"], d.headers["x-gr4vy-webhook-timestamp"], 300),
    },
  },
  "@onfido/api": {
    onfido: {
      calls: "WebhookEventVerifier.readPayload",
      verify: (d) => void new onfido.WebhookEventVerifier(d.secret).readPayload(d.raw, d.headers["x-sha2-signature"]),
    },
  },
  "@whop/sdk": {
    whop: {
      calls: "webhooks.unwrap",
      // Whop's documentation hands the secret over so.
      verify: (d) =>
        void new Whop({ apiKey: "key" }).webhooks.unwrap(d.body, { headers: d.headers, key: Buffer.from(d.secret).toString("base64") }),
    },
  },
  "cashfree-pg": {
    cashfree: {
      calls: "PGVerifyWebhookSignature",
      verify: (d) =>
        void new Cashfree(CFEnvironment.SANDBOX, "id", d.secret).PGVerifyWebhookSignature(
          d.headers["x-webhook-signature"], d.body, d.headers["x-webhook-timestamp"]),
    },
  },
  dodopayments: {
    dodo_payments: {
      calls: "webhooks.unwrap",
      verify: (d) => void new DodoPayments({ bearerToken: "key" }).webhooks.unwrap(d.body, { headers: d.headers, key: d.secret }),
    },
  },
  fedapay: {
    fedapay: {
      calls: "Webhook.generateTestHeaderString, Webhook.constructEvent",
      sign: (d) => ({
        headers: {
          "X-FEDAPAY-SIGNATURE": [fedapay.Webhook.generateTestHeaderString({ payload: d.body, secret: d.secret, timestamp: d.now })],
        },
      }),
      verify: (d) => void fedapay.Webhook.constructEvent(d.body, d.headers["x-fedapay-signature"], d.secret),
    },
  },
  mercadopago: {
    mercadopago: {
      calls: "WebhookSignatureValidator.validate",
      verify: (d) =>
        void MercadoPago.validate({
          xSignature: d.headers["x-signature"],
          xRequestId: d.headers["x-request-id"],
          dataId: new URL(d.url).searchParams.get("data.id"),
          secret: d.secret,
        }),
    },
  },
  "mollie-api-typescript": {
    mollie: {
      calls: "SignatureValidator.createSignature, SignatureValidator.validate",
      sign: async (d) => ({ headers: { "X-Mollie-Signature": ["sha256=" + (await Mollie.createSignature(d.body, d.secret))] } }),
      verify: async (d) => Mollie.validate(d.body, d.secret, d.headers["x-mollie-signature"]?.split(", ")),
    },
  },
  "onlinepayments-sdk-nodejs": {
    worldline: {
      calls: "newSignatureValidator, validate",
      verify: async (d) => {
        const store = { getSecretKey: async () => d.secret };
        await worldline.newSignatureValidator(store).validate(d.raw, d.headers);
      },
    },
  },
  opennode: {
    opennode: {
      calls: "verifySignature",
      verify: (d) => new OpenNodeClient(d.secret).verifySignature(Object.fromEntries(new URLSearchParams(d.body))),
    },
  },
};
