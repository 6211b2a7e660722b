// `streamSSE` of the first article, as written there; the backticks that its text lost are restored.
/* eslint-disable */
// ✅ KHẮC PHỤC 2: Client-side - đọc stream trực tiếp
async function* streamSSE(url, options) {
  const response = await fetch(url, options);
  
  if (!response.ok) {
    throw new Error(`HTTP ${response.status}`);
  }
  
  // Đọc như ReadableStream thay vì EventSource
  const reader = response.body.getReader();
  const decoder = new TextDecoder();
  
  while (true) {
    const { done, value } = await reader.read();
    
    if (done) break;
    
    const chunk = decoder.decode(value, { stream: true });
    const lines = chunk.split('\n');
    
    for (const line of lines) {
      if (line.startsWith('data: ')) {
        const data = line.slice(6);
        if (data !== '[DONE]') {
          try {
            yield JSON.parse(data);
          } catch {
            yield data;
          }
        }
      }
    }
  }
}

export { streamSSE };
