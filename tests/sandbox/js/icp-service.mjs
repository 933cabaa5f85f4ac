// What both generations of the official agent call, as a client would declare it.
export function service({ IDL, listingAs = ['query'] }) {
  const result = (kind) =>
    IDL.Variant({ Ok: kind, Err: IDL.Variant({ NotFound: IDL.Null, InvalidArgument: IDL.Text }) });
  const link = IDL.Record({ asset_id: IDL.Text, bytes: IDL.Opt(IDL.Nat64), etag: IDL.Opt(IDL.Text) });
  const header = IDL.Record({ id: IDL.Text, assets: IDL.Record({ original: IDL.Opt(link) }) });
  const page = IDL.Record({ items: IDL.Vec(header), next_cursor: IDL.Opt(IDL.Text) });
  return IDL.Service({
    whoami: IDL.Func([], [IDL.Principal], ['query']),
    memories_list: IDL.Func(
      [IDL.Text, IDL.Opt(IDL.Text), IDL.Opt(IDL.Nat32)],
      [result(page)],
      listingAs,
    ),
    memories_delete: IDL.Func([IDL.Text, IDL.Bool], [result(IDL.Null)], []),
    no_such_query: IDL.Func([], [], ['query']),
    no_such_update: IDL.Func([], [], []),
  });
}

export async function rejection(call) {
  try {
    await call();
    return null;
  } catch (error) {
    return String(error.message);
  }
}
