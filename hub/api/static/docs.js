// Shows the API's document. A key that is entered stays in this page: it is neither stored nor sent anywhere else.
"use strict";

SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  tryItOutEnabled: true,
  persistAuthorization: false,
  // Else the document is shown to a server of somebody else.
  validatorUrl: null,
});
