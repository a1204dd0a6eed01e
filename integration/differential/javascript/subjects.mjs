// What is asked of each SDK: subjects[package][provider id] = {calls, sign, verify}.
// sign returns the headers that the SDK's signature adds; verify throws or
// returns false to refuse, anything else is acceptance.
import { media } from "./media.mjs";
import { payments } from "./payments.mjs";
import { services } from "./services.mjs";
import { signers } from "./signers.mjs";
import { verifiers } from "./verifiers.mjs";

export const subjects = {};
for (const part of [signers, verifiers, media, payments, services]) {
  for (const [sdk, providers] of Object.entries(part)) subjects[sdk] = { ...subjects[sdk], ...providers };
}
