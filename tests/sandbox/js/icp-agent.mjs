// Calls the stand-in with the current official agent, every verification on, and prints what came
// of it as JSON. Arguments: the server's URL, the canister, a memory's capsule.
import { Actor, CanisterStatus, HttpAgent, polling } from '@icp-sdk/core/agent';
import { IDL } from '@icp-sdk/core/candid';
import { Ed25519KeyIdentity } from '@icp-sdk/core/identity';
import { Principal } from '@icp-sdk/core/principal';
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
const own = identity.getPrincipal().toText();
const results = { own };

results.query = (await actor.whoami()).toText();
results.listed = (await actor.memories_list(capsule, [], [10])).Ok;
results.certifiedListing = (
  await Actor.createActor(
    ({ IDL }) => service({ IDL, listingAs: [] }),
    { agent, canisterId },
  ).memories_list(capsule, [], [10])
).Ok;
results.deleted = await actor.memories_delete(results.listed.items[0].id, true);
results.deletedAgain = await actor.memories_delete(results.listed.items[0].id, true);

const asynchronous = await agent.call(canisterId, {
  methodName: 'whoami',
  arg: IDL.encode([], []),
  callSync: false,
});
results.accepted = asynchronous.response.status;
const polled = await polling.pollForResponse(agent, canisterId, asynchronous.requestId);
results.polled = IDL.decode([IDL.Principal], polled.reply)[0].toText();

const status = await CanisterStatus.request({
  agent,
  canisterId,
  paths: ['candid', 'time', 'module_hash', 'controllers', 'subnet'],
});
results.interface = status.get('candid');
results.moduleHash = status.get('module_hash');
results.controllers = status.get('controllers').map(String);
results.nodes = status.get('subnet').nodeKeys.size;

results.rejectedQuery = await rejection(() => actor.no_such_query());
results.rejectedUpdate = await rejection(() => actor.no_such_update());

// With another root key nothing may pass.
const stranger = await HttpAgent.create({ host, identity, verifyQuerySignatures: true });
const distrustful = Actor.createActor(service, { agent: stranger, canisterId });
results.wrongRootKey = await rejection(() => distrustful.whoami());
results.wrongRootKeyUpdate = await rejection(() => distrustful.memories_delete('x', true));

console.log(JSON.stringify(results, (_, value) => (typeof value === 'bigint' ? Number(value) : value)));
