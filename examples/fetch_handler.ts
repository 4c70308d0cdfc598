/**
 * The HTTP service inside of a server of your own: its fetch handler under a path, beside other routes.
 *
 *   deno run -A examples/fetch_handler.ts [image]
 *
 * With an image, it asks itself and ends. Otherwise: curl --data-binary @image.png http://127.0.0.1:8000/tracer/v1/attribute
 * Images are decoded in processes without any permission: with fewer permissions than -A, it needs --allow-run=deno.
 */
import { openService } from "../attribution/service/mod.ts";

const service = await openService({
  TRACER_MODELS: decodeURIComponent(new URL("../weights/tiny", import.meta.url).pathname),
  TRACER_DEVICE: "cpu",
});

function handle(request: Request): Response | Promise<Response> {
  const url = new URL(request.url);
  if (!url.pathname.startsWith("/tracer/")) return new Response("a page of your own\n");
  url.pathname = url.pathname.slice("/tracer".length);
  return service.fetch(new Request(url, request));
}

const server = Deno.serve({ port: Deno.args.length > 0 ? 0 : 8000, hostname: "127.0.0.1", onListen: () => {} }, handle);

if (Deno.args.length > 0) {
  await service.ready; // requests before that are answered with 503
  const address = `http://127.0.0.1:${server.addr.port}/tracer/v1/attribute`;
  const response = await fetch(address, { method: "POST", body: await Deno.readFile(Deno.args[0]) });
  const { images: [{ verdict }] } = await response.json();
  console.log(`${response.status}: ${verdict.title}, confidence ${verdict.confidence.toFixed(2)}`);
  await server.shutdown();
  await service[Symbol.asyncDispose]();
}
