// What is asked of each SDK: subjects[package][provider id] = {calls, sign, verify}.
// sign returns the headers that the SDK's signature adds; verify throws or
// returns false to refuse, anything else is acceptance.
import { signers } from "./signers.mjs";
import { verifiers } from "./verifiers.mjs";

export const subjects = { ...signers, ...verifiers };
