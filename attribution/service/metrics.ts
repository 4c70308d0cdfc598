/**
 * The metrics of a server, in Prometheus' text format. They are numbers, and contain no names, addresses or images.
 */
import { Counter, Gauge, Histogram, Registry } from "npm:prom-client@15.1.3";

const seconds = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const delays = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1];

export class Metrics {
  readonly registry = new Registry();

  readonly requests = this.#counter("requests_total", "Requests by route and status", ["route", "status"]);
  readonly duration = this.#histogram("request_seconds", "From the request's head to the answer", seconds, ["route"]);
  readonly inFlight = this.#gauge("requests_in_flight", "Requests that are not answered yet");
  readonly queue = this.#gauge("queue_images", "Images accepted and not answered yet; what to scale on");
  readonly queueLimit = this.#gauge("queue_limit_images", "Places that the queue has");
  readonly refused = this.#counter("refused_total", "Requests refused, by reason", ["reason"]);
  readonly unreadable = this.#counter("unreadable_total", "Images that could not be read, by reason", ["reason"]);
  readonly verdicts = this.#counter("verdicts_total", "Verdicts by finding and label", ["finding", "label"]);
  readonly batchSize = this.#histogram("batch_images", "Images per batch", [1, 2, 4, 8, 16, 32, 64, 128]);
  readonly batchSeconds = this.#histogram("batch_seconds", "Time of a batch on the device", seconds);
  readonly waitSeconds = this.#histogram("queue_wait_seconds", "Time that a batch's first image waited", seconds);
  readonly reading = this.#gauge("bodies_bytes", "Bytes of request bodies that are held");
  readonly ready = this.#gauge("ready", "1 once the device is warm, 0 before and while shutting down");
  readonly restarts = this.#counter("device_restarts_total", "Times that the device was opened again");
  readonly decoderRestarts = this.#gauge("decoder_restarts", "Decoding processes ended because of an image");
  readonly deviceBytes = this.#gauge("device_bytes", "Device memory by state", ["state"]);
  readonly networks = this.#gauge("networks_loaded", "Transformers on the device");
  readonly loopDelay = this.#histogram("event_loop_delay_seconds", "How late a timer came, each 20 ms", delays);
  readonly longestDelay = this.#gauge("event_loop_delay_max_seconds", "The longest of the last 30 to 60 seconds");
  readonly heapBytes = this.#gauge("heap_bytes", "Memory for objects, by thread", ["thread"]);
  readonly externalBytes = this.#gauge("external_bytes", "Buffers of the server's own thread outside of its heap");
  readonly processBytes = this.#gauge("process_resident_bytes", "Memory of the process");

  #counter<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Counter<L> {
    return new Counter({ name: `model_tracer_${name}`, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #gauge<L extends string>(name: string, help: string, labelNames: readonly L[] = []): Gauge<L> {
    return new Gauge({ name: `model_tracer_${name}`, help, labelNames: [...labelNames], registers: [this.registry] });
  }

  #histogram<L extends string>(
    name: string,
    help: string,
    buckets: readonly number[],
    labelNames: readonly L[] = [],
  ): Histogram<L> {
    return new Histogram({
      ...{ name: `model_tracer_${name}`, help, labelNames: [...labelNames], buckets: [...buckets] },
      registers: [this.registry],
    });
  }

  /** The text, and its content type. */
  async text(): Promise<{ body: string; contentType: string }> {
    return { body: await this.registry.metrics(), contentType: this.registry.contentType };
  }
}
