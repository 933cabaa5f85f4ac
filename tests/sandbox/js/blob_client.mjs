// Runs @vercel/blob against the server its environment names; prints one JSON object of what it saw.
import { createHash } from 'node:crypto'
import { Agent, setGlobalDispatcher } from 'undici'
import {
  BlobError,
  BlobNotFoundError,
  BlobPreconditionFailedError,
  completeMultipartUpload,
  copy,
  createFolder,
  createMultipartUpload,
  createMultipartUploader,
  del,
  get,
  head,
  list,
  put,
  rename,
  uploadPart,
} from '@vercel/blob'

// Downloads go to the store's own host name: that leads to the same server here.
const { origin } = new URL(process.env.VERCEL_BLOB_API_URL)
setGlobalDispatcher(
  new Agent().compose((dispatch) => (options, handler) => {
    const own = String(options.origin).endsWith('.blob.vercel-storage.com')
    return dispatch(own ? { ...options, origin } : options, handler)
  }),
)

const failure = async (promise) => {
  try {
    await promise
    return null
  } catch (error) {
    if (error instanceof BlobNotFoundError) return 'not found'
    if (error instanceof BlobPreconditionFailedError) return 'precondition failed'
    if (error instanceof BlobError) return error.message
    throw error
  }
}
const bytesOf = async (url) => Buffer.from(await (await fetch(url)).arrayBuffer())
const md5 = (bytes) => createHash('md5').update(bytes).digest('hex')
const seen = {}

const first = await put('js/a b é.txt', 'first', { access: 'public' })
seen.put = first
seen.head = await head(first.url)
seen.headByPathname = (await head('js/a b é.txt')).etag
seen.text = (await bytesOf(first.url)).toString()
const got = await get('js/a b é.txt', { access: 'public' })
const known = await get('js/a b é.txt', { access: 'public', ifNoneMatch: first.etag })
seen.got = [
  await new Response(got.stream).text(),
  got.blob.size,
  known.statusCode,
  await get('js/absent', { access: 'public' }),
]
seen.again = await failure(put('js/a b é.txt', 'second', { access: 'public' }))
const second = await put('js/a b é.txt', 'second', { access: 'public', ifMatch: first.etag })
seen.staleEtag = await failure(put('js/a b é.txt', 'third', { access: 'public', ifMatch: first.etag }))
seen.suffixed = (await put('js/s.txt', 's', { access: 'public', addRandomSuffix: true })).pathname
seen.progress = []
await put('js/progress.bin', Buffer.alloc(200_000), {
  access: 'private',
  onUploadProgress: ({ percentage }) => seen.progress.push(percentage),
})
const secret = await get('js/progress.bin', { access: 'private', useCache: false })
seen.gotPrivate = (await new Response(secret.stream).arrayBuffer()).byteLength

const copied = await copy(second.url, 'js/copy.md', { access: 'public', cacheControlMaxAge: 600 })
seen.copied = [copied.contentType, (await head(copied.pathname)).cacheControl, copied.etag === second.etag]
seen.renamed = (await rename(copied.url, 'js/renamed.md', { access: 'public' })).pathname
seen.gone = await failure(head(copied.url))
seen.folder = (await createFolder('js/folder')).pathname

for (let n = 0; n < 5; n += 1) await put(`js/list/${n}`, String(n), { access: 'public' })
seen.listed = []
let cursor
do {
  const page = await list({ prefix: 'js/list/', limit: 2, cursor })
  seen.listed.push(page.blobs.map((blob) => [blob.pathname, blob.size, blob.uploadedAt instanceof Date]))
  cursor = page.hasMore ? page.cursor : undefined
} while (cursor)
seen.folders = (await list({ prefix: 'js/', mode: 'folded' })).folders

const large = Buffer.alloc(17 * 1024 * 1024 + 5, 'edgekeeper')
const automatic = await put('js/large.bin', large, { access: 'public', multipart: true })
seen.multipart = [automatic.etag.split('-')[1], md5(await bytesOf(automatic.url)) === md5(large)]
const half = large.subarray(0, 9 * 1024 * 1024)
const upload = await createMultipartUpload('js/é manual.bin', { access: 'public' })
const part = (n, body) => uploadPart('js/é manual.bin', body, { access: 'public', ...upload, partNumber: n })
const parts = [await part(1, half), await part(2, 'end')]
const manual = await completeMultipartUpload('js/é manual.bin', parts, { access: 'public', ...upload })
seen.manual = (await head(manual.url)).size === half.length + 3
const uploader = await createMultipartUploader('js/uploader.bin', { access: 'public' })
const only = await uploader.uploadPart(1, 'only')
seen.uploader = (await uploader.complete([only])).pathname

seen.staleDeletion = await failure(del(second.url, { ifMatch: first.etag }))
await del(second.url, { ifMatch: second.etag })
seen.deleted = await failure(head(second.url))
await del(['js/list/0', 'js/list/1', 'js/absent'])
seen.left = (await list({ prefix: 'js/list/' })).blobs.length
seen.wrongToken = await failure(list({ token: 'vercel_blob_rw_TestStore1_wrong' }))
seen.wrongStore = await failure(list({ token: 'vercel_blob_rw_Other_wrong' }))

console.log(JSON.stringify(seen))
