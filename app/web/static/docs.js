// Swagger UI on the service's own document. `validatorUrl`: else it shows the document to a site of its makers.

SwaggerUIBundle({
  url: new URL("../openapi.json", import.meta.url).href,
  dom_id: "#swagger-ui",
  deepLinking: true,
  validatorUrl: null,
});
