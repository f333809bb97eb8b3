// @ts-check
// One camera in a worker of its own: a busy page never freezes the picture, a slow picture never delays a key.
// One frame of credit: the next one is asked for when this one has been drawn, and the newest is what comes.

const RECONNECT_MS = 1000;
const HEADER_BYTES = 16; // float64 sequence, float64 age in ms

/** @param {string} url @param {OffscreenCanvas} canvas @param {OffscreenCanvasRenderingContext2D} context */
function connect(url, canvas, context) {
  const socket = new WebSocket(url);
  socket.binaryType = 'arraybuffer';
  socket.addEventListener('open', () => socket.send('next'));
  socket.addEventListener('close', () => setTimeout(() => connect(url, canvas, context), RECONNECT_MS));
  socket.addEventListener('message', async (event) => {
    const arrived = performance.timeOrigin + performance.now();
    const header = new DataView(event.data, 0, HEADER_BYTES);
    try {
      const picture = await createImageBitmap(new Blob([new Uint8Array(event.data, HEADER_BYTES)]));
      const { width, height } = picture;
      if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
      context.drawImage(picture, 0, 0);
      picture.close();
      postMessage({ seq: header.getFloat64(0, true), age_ms: header.getFloat64(8, true), arrived, width, height });
    } catch (error) {
      console.warn('a frame could not be decoded', error); // its age grows on the page until a good one comes
    }
    if (socket.readyState === WebSocket.OPEN) socket.send('next');
  });
}

addEventListener('message', (event) => {
  const { url, canvas } = event.data;
  connect(url, canvas, canvas.getContext('2d', { alpha: false }));
}, { once: true });
