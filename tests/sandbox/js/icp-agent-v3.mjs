// Calls the stand-in with the agent's previous generation, which speaks the older versions of the
// endpoints: certificates have the canister ranges in the older layout there.
import { Actor, CanisterStatus, HttpAgent, polling } from '@dfinity/agent';
import { IDL } from '@dfinity/candid';
import { Ed25519KeyIdentity } from '@dfinity/identity';
import { Principal } from '@dfinity/principal';
import { rejection, service } from './icp-service.mjs';

const [host, canister, capsule] = process.argv.slice(2);
const canisterId = Principal.fromText(canister);
const identity = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(7));
const agent = await HttpAgent.create({
  host,
  identity,
  shouldFetchRootKey: true,
  verifyQuerySignatures: true,
});
const actor = Actor.createActor(service, { agent, canisterId });
const results = { own: identity.getPrincipal().toText() };

results.query = (await actor.whoami()).toText();
results.listed = (await actor.memories_list(capsule, [], [10])).Ok;
results.deleted = await actor.memories_delete(results.listed.items[0].id, true);

const asynchronous = await agent.call(canisterId, {
  methodName: 'whoami',
  arg: IDL.encode([], []),
  callSync: false,
});
results.accepted = asynchronous.response.status;
const polled = await polling.pollForResponse(agent, canisterId, asynchronous.requestId);
results.polled = IDL.decode([IDL.Principal], polled.reply)[0].toText();

const status = await CanisterStatus.request({ agent, canisterId, paths: ['candid'] });
results.interface = status.get('candid');
results.rejectedQuery = await rejection(() => actor.no_such_query());
results.rejectedUpdate = await rejection(() => actor.no_such_update());

console.log(JSON.stringify(results, (_, value) => (typeof value === 'bigint' ? Number(value) : value)));
